"""Key points of COCO files: forms of labels, and points that cannot be."""
import pytest

from mmyolonas.datasets.formats.pose_checks import clean_poses

SOUND = [5, 5, 2, 9, 9, 1, 0, 0, 0]
OUTSIDE = 'have key points outside of their image, which are not labelled'


def cleaned(points):
    data = dict(images=[dict(id=1, width=64, height=48)],
                annotations=[dict(id=1, image_id=1, keypoints=points),
                             dict(id=2, image_id=1, keypoints=list(SOUND))])
    problems = clean_poses(data, 3, 'a.json')
    assert data['annotations'][1]['keypoints'] == SOUND
    return data['annotations'][0]['keypoints'], problems


@pytest.mark.parametrize('points,expected', [
    ([5, 5, True, 9, 9, False, 0, 0, 0], [5, 5, 2, 9, 9, 0, 0, 0, 0]),
    ([65, 5, 2, 9, -2, 2, 0, 0, 0], [65, 5, 2, 9, -2, 2, 0, 0, 0]),  # rounding of tools
    ([500, 500, 0, 9, 9, 2, 0, 0, 0], [500, 500, 0, 9, 9, 2, 0, 0, 0])])
def test_sound_points(points, expected):
    assert cleaned(points) == (expected, {})


@pytest.mark.parametrize('points', [[500, 5, 2], [5, -40, 1], [5, 60, 2]])
def test_points_beside_the_image(points):
    """They are not labelled, which is said; the object stays."""
    assert cleaned([*points, *SOUND[3:]]) == ([0, 0, 0, *SOUND[3:]], {OUTSIDE: 1})


@pytest.mark.parametrize('points', [None, [], [None] * 9])
def test_no_points(points):
    assert cleaned(points) == ([0] * 9, {'have no key points; their boxes are kept': 1})
