"""supervision, trackers and SAHI on our results. The packages are optional."""
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from mmyolonas.inference.prediction import Prediction
from mmyolonas.run import find_command
from mmyolonas.runtime.result import RuntimeResult
from mmyolonas.runtime.runtime import Runtime

ROOT = Path(__file__).resolve().parents[2]


class Bright:
    """Finds bright rectangles: a stand-in for a model, with boxes known to the pixel."""
    classes, device = ('square', ), 'cpu'
    options = SimpleNamespace(score_thr=0.25, class_agnostic=False)

    def __call__(self, images):
        return [self.find(image) for image in images]

    def find(self, image):
        assert image[..., 2].max() >= image[..., 0].max()  # red in BGR
        count, _, stats, _ = cv2.connectedComponentsWithStats(
            (image[..., 2] > 128).astype(np.uint8))
        x, y, w, h = stats[1:count, :4].T
        boxes = np.stack([x, y, x + w, y + h], 1).astype(np.float32).reshape(-1, 4)
        return Prediction(boxes, np.full(count - 1, 0.9, np.float32),
                          np.zeros(count - 1, np.int64))


def rectangles(boxes, size=(200, 300)):
    image = np.zeros((*size, 3), np.uint8)
    for x1, y1, x2, y2 in boxes:
        image[y1:y2, x1:x2] = (0, 40, 255)
    return image


def test_results_as_supervision_has_them():
    supervision = pytest.importorskip('supervision')
    result = RuntimeResult(
        np.array([[1, 2, 30, 40], [5, 6, 7, 8]], np.float32), np.array([0.9, 0.4], np.float32),
        np.array([1, 0]), ['ape', 'bee'], (64, 48), keypoints=np.ones((2, 3, 2), np.float32),
        keypoint_scores=np.ones((2, 3), np.float32))
    found = result.to_supervision()
    assert isinstance(found, supervision.Detections) and len(found) == 2
    assert found.data['class_name'].tolist() == ['bee', 'ape']
    np.testing.assert_array_equal(found.xyxy, result.boxes)
    assert found[found.confidence > 0.5].data['keypoints'].shape == (1, 3, 2)
    picture = supervision.LabelAnnotator().annotate(np.zeros((48, 64, 3), np.uint8), found)
    assert picture.any()
    assert len(result.above(0.99).to_supervision()) == 0


@pytest.mark.parametrize('name', ['bytetrack', 'sort', 'ocsort', 'botsort'])
def test_numbers_follow_objects(name):
    pytest.importorskip('trackers')
    from mmyolonas.inference.tracking import Tracker
    tracker, ways = Tracker(name, 25.), []
    for step in range(24):
        boxes = [(10 + 6 * step, 20, 60 + 6 * step, 70), (240 - 6 * step, 120, 290 - 6 * step, 170)]
        image = rectangles(boxes)
        prediction = Bright().find(image)
        prediction.scores[:] = (0.55, 0.45)  # below the trackers' own thresholds
        assert len(prediction) == 2
        ways.append(tracker.update(prediction, image).track_ids.tolist())
        assert len(prediction.records()) == 2
    late = ways[6:]
    assert all(ids == late[0] for ids in late) and len(set(late[0])) == 2 and min(late[0]) >= 0
    assert [record['track'] for record in prediction.records()] == late[0]
    drawn = tracker.draw(image, prediction, ('square', ))
    assert drawn.shape == image.shape and (drawn != image).any()
    tracker.update(Prediction(np.zeros((0, 4)), np.zeros(0), np.zeros(0, np.int64)), image)


def test_slices_find_what_spans_them():
    pytest.importorskip('sahi')
    from mmyolonas.inference.sahi_model import Slicer
    boxes = [(10, 10, 20, 22), (90, 40, 130, 80), (280, 180, 298, 199)]  # the second over a border
    found, = Slicer(Bright(), 100, batch_size=2)([rectangles(boxes)])
    got = sorted(map(tuple, found.boxes.astype(int).tolist()))
    assert got == sorted(boxes) and (np.diff(found.scores) <= 0).all()
    empty, = Slicer(Bright(), 100)([np.zeros((150, 150, 3), np.uint8)])
    assert len(empty) == 0 and empty.boxes.shape == (0, 4)


def test_sahi_on_an_exported_file(zoo, image):
    pytest.importorskip('sahi')
    from sahi import AutoDetectionModel
    from sahi.predict import get_prediction, get_sliced_prediction

    from mmyolonas.utils import UserError
    path = zoo.file('detection', 'onnx')
    model = AutoDetectionModel.from_pretrained(
        'mmyolonas', path, device='cpu', confidence_threshold=0.3)
    rgb = image[..., ::-1].copy()
    found = get_prediction(rgb, model).object_prediction_list
    with Runtime(path) as runtime:
        expected = runtime(image).above(0.3)
    assert len(found) == len(expected) > 1
    got = np.array([item.bbox.to_xyxy() for item in found])
    assert np.abs(got - expected.boxes).max() < 1e-3
    assert [item.category.name for item in found] == expected.names
    assert get_sliced_prediction(rgb, model, 64, 64, verbose=0, batch_size=3) is not None
    with pytest.raises(UserError, match='config_path'):
        AutoDetectionModel.from_pretrained('mmyolonas', 'weights.pth', device='cpu')


def test_sahi_command_line_knows_our_models(zoo, image, tmp_path):
    pytest.importorskip('sahi')
    assert find_command('sahi') is not None and find_command('no-such-command') is None
    (tmp_path / 'images').mkdir()
    cv2.imwrite(str(tmp_path / 'images' / 'one.png'), image)
    done = subprocess.run(
        [sys.executable, '-m', 'mmyolonas.run', 'sahi', 'predict', '--model_type', 'mmyolonas',
         '--model_path', zoo.file('detection', 'onnx'), '--source', str(tmp_path / 'images'),
         '--slice_height', '64', '--slice_width', '64', '--model_device', 'cpu', '--project',
         str(tmp_path / 'out'), '--name', 'run'], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-800:]
    assert list((tmp_path / 'out').rglob('one*'))


@pytest.mark.skipif(find_spec('trackers') is not None, reason='trackers is installed')
def test_missing_packages_are_named():
    from mmyolonas.inference.tracking import Tracker
    with pytest.raises(ImportError, match='pip install trackers'):
        Tracker()
