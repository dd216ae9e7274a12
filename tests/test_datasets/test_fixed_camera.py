"""Images that all look alike are divided in blocks, with a warning."""
import json

import cv2
import numpy as np
import pytest

from mmyolonas.datasets.formats.layouts import read_layout
from mmyolonas.datasets.inspection.report import inspect_data
from mmyolonas.utils.data_error import DataError

SIZE = 480


def background(seed, size=SIZE):
    blocks = np.random.default_rng(seed).integers(0, 200, (6, 6, 3), dtype=np.uint8)
    return cv2.resize(blocks, (size, size))


def write(root, names, scene, side=32, times=None):
    """Frames with two moving objects; ``scene`` gives the number of each one's background."""
    root.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for index, name in enumerate(names):
        image = background(scene(index))
        for label in range(2):
            free = SIZE - side
            x, y = (17 * index * (label + 1)) % free, (11 * index + 60 * label) % free
            cv2.rectangle(image, (x, y), (x + side, y + side), (0, 255 * label, 255), -1)
            annotations.append(dict(id=len(annotations) + 1, image_id=index, category_id=label + 1,
                                    bbox=[x, y, side, side], area=side**2, iscrowd=0))
        (root / name).parent.mkdir(exist_ok=True)
        assert cv2.imwrite(str(root / name), image)
        images.append(dict(id=index, file_name=name, width=SIZE, height=SIZE,
                           **({} if times is None else dict(date_captured=times[index]))))
    (root / 'labels.json').write_text(json.dumps(dict(
        images=images, annotations=annotations,
        categories=[dict(id=1, name='a'), dict(id=2, name='b')])))
    return root


def divided(root):
    report = inspect_data(read_layout(root))
    names = {name: [image['file_name'] for image in part.split.data['images']]
             for name, part in report.splits.items()}
    return report, names['train'], names['val']


@pytest.mark.parametrize('side', [16, 32])
def test_one_camera(tmp_path, side):
    """The last fifth in the order of numbers, not of text; said in a warning."""
    names = [f'frame_{index}.png' for index in range(40)]
    report, train, val = divided(write(tmp_path, names, lambda _: 0, side))
    assert val == names[32:] and train == names[:32]
    text = '\n'.join(report.warnings)
    assert '40 images look alike, as of a fixed camera' in text and 'leak' not in text
    assert report.series == 40 and not report.leaks


def test_several_cameras(tmp_path):
    """A block of each, whether they look alike or not."""
    names = [f'cam{camera}/{index:04d}.png' for camera in range(3) for index in range(20)]
    for kind, scene in (('same', lambda _: 0), ('other', lambda index: index // 20)):
        _, train, val = divided(write(tmp_path / kind, names, scene))
        assert sorted(val) == [name for name in names if int(name[5:9]) >= 16], kind
        assert len(train) == 48


def test_bursts_stay_together(tmp_path):
    """Groups smaller than the share are on one side."""
    names = [f'burst{index // 4}_{index % 4}.png' for index in range(40)]
    report, _, val = divided(write(tmp_path, names, lambda index: index // 4, 16))
    assert len(val) == 8 and len({name.split('_')[0] for name in val}) == 2
    assert not report.series and not report.leaks


def test_conveyor_with_some_other_images(tmp_path):
    names = [f'belt{index:03d}.png' for index in range(50)] + [f'x{i}.png' for i in range(10)]
    report, train, val = divided(write(tmp_path, names, lambda i: 0 if i < 50 else i, 16))
    assert 10 <= len(val) <= 14 and len(train) + len(val) == 60
    belt = [name for name in val if name.startswith('belt')]
    assert belt == names[40:50]


def test_order_of_time(tmp_path):
    """Names without meaning, as UUIDs; the time of each image is in the file."""
    rng = np.random.default_rng(0)
    names = [f'{rng.integers(1 << 60):015x}.png' for _ in range(30)]
    times = [f'2024-05-01 12:{index:02d}:00' for index in range(30)]
    _, _, val = divided(write(tmp_path, names, lambda _: 0, times=times))
    assert val == names[24:]


def test_a_class_that_is_in_the_last_frames_alone(tmp_path):
    """Another block is taken, and every class keeps images to train on."""
    names = [f'{index:03d}.png' for index in range(40)]
    root = write(tmp_path, names, lambda _: 0)
    data = json.loads((root / 'labels.json').read_text())
    data['categories'].append(dict(id=3, name='late'))
    for annotation in data['annotations'][-6:]:
        annotation['category_id'] = 3
    (root / 'labels.json').write_text(json.dumps(data))
    report, train, val = divided(root)
    assert len(val) == 8 and names[-1] in train
    first = names.index(val[0])
    assert val == names[first:first + 8]
    assert report.splits['train'].counts(3).min() > 0


@pytest.mark.parametrize('count', [2, 3, 9])
def test_few_frames(tmp_path, count):
    names = [f'{index}.png' for index in range(count)]
    _, train, val = divided(write(tmp_path, names, lambda _: 0))
    assert len(train) + len(val) == count and train and val


def test_equal_files_are_never_divided(tmp_path):
    root = write(tmp_path, [f'{index}.png' for index in range(20)], lambda _: 0)
    for path in root.glob('*.png'):
        path.write_bytes((root / '0.png').read_bytes())
    with pytest.raises(DataError, match='20 images of which no two differ'):
        divided(root)
    for index in range(10, 20):
        (root / f'{index}.png').write_bytes(cv2.imencode('.png', background(9))[1].tobytes())
    _, train, val = divided(root)
    assert {len(train), len(val)} == {10}
