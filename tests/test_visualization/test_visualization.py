"""Pictures and plots contain what they should."""
import json

import cv2
import numpy as np
import pytest

from mmyolonas.utils import UserError
from mmyolonas.visualization import (
    draw_boxes,
    draw_poses,
    make_grid,
    make_palette,
    plot_curves,
    read_log,
)


def test_palette_is_stable_and_distinct():
    assert make_palette(20)[:5] == make_palette(5)
    colours = np.array(make_palette(20), float)
    distance = np.linalg.norm(colours[:, None] - colours, axis=-1) + 1e3 * np.eye(20)
    assert distance.min() > 20


def test_boxes_are_drawn_where_they_are():
    image = np.zeros((100, 200, 3), np.uint8)
    draw_boxes(image, np.array([[50, 40, 150, 90]]), [1], [0.5], ('a', 'b'),
               [(255, 0, 0), (0, 0, 255)])
    assert tuple(image[60, 50]) == (0, 0, 255) and tuple(image[90, 100]) == (0, 0, 255)
    assert not image[60:80, 60:140].any()
    # nothing to draw, and boxes far outside, do no harm
    draw_boxes(image, np.zeros((0, 4)), [])
    draw_boxes(image, np.array([[-500, -500, 900, 900]]), [7])


def test_poses():
    image = np.zeros((60, 60, 3), np.uint8)
    points = np.array([[[10, 10], [50, 10], [30, 50]]], float)
    draw_poses(image, points, np.array([[1, 1, 0]]), [(0, 1), (1, 2)],
               link_colours=[(0, 255, 0), (255, 0, 0)])
    blue, green, red = image[10, 30]
    assert green > 200 and blue == red == 0
    assert not image[20:, :].any()  # neither the hidden point nor the line to it


def test_grid():
    red, blue = np.full((50, 100, 3), (0, 0, 255), np.uint8), np.full((80, 40, 3), (255, 0, 0),
                                                                      np.uint8)
    grid = make_grid([red, blue, red], columns=2, cell=64, gap=2)
    assert grid.shape == (2 * 66, 2 * 66, 3)
    assert tuple(grid[32, 32]) == (0, 0, 255) and tuple(grid[32, 66 + 32]) == (255, 0, 0)
    assert tuple(grid[2, 32]) == (255, 255, 255)
    with pytest.raises(ValueError, match='no image'):
        make_grid([], 2)


def write_log(folder, name: str, train, val) -> None:
    path = folder / name / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    rows = [dict(lr=1e-3, loss=v, loss_cls=v / 2, time=0.1, epoch=1, iter=i, step=i)
            for i, v in train]
    rows += [{'coco/bbox_mAP': v, 'coco/bbox_mAP_s': -1.0, 'time': 0.1, 'step': e} for e, v in val]
    path.write_text('\n'.join(map(json.dumps, rows)) + '\n{"loss": 1.0, "it')


def test_log_of_a_resumed_training(tmp_path):
    write_log(tmp_path, '20240101', [(10, 4.0), (20, 3.0), (30, 9.0)], [(1, 0.1)])
    write_log(tmp_path, '20240102', [(30, 2.5), (40, 2.0)], [(2, 0.2), (3, 0.3)])
    log = read_log(tmp_path)
    assert log.train['loss'] == ([10, 20, 30, 40], [4.0, 3.0, 2.5, 2.0])
    assert log.val['coco/bbox_mAP'] == ([1, 2, 3], [0.1, 0.2, 0.3])
    plot_curves({'run': log}, tmp_path / 'curves.png')
    assert cv2.imread(str(tmp_path / 'curves.png')).std() > 1
    with pytest.raises(UserError, match='no metric mAP; it has coco/bbox_mAP'):
        plot_curves({'run': log}, tmp_path / 'curves.png', ['mAP'])
    with pytest.raises(UserError, match='no training log'):
        read_log(tmp_path / 'none')


@pytest.mark.parametrize('text', ['', '{', 'null\n', '{"step": 1, "loss": "x"}\n', '[1]\n'])
def test_log_without_a_number(text, tmp_path):
    """No empty picture."""
    (tmp_path / 'scalars.json').write_text(text)
    with pytest.raises(UserError, match='holds no number of a training'):
        read_log(tmp_path / 'scalars.json')
