"""SAHI, supervision and trackers on an exported file.

``job['mosaic']`` is a picture of four of the pictures, two by two, and ``job['expected']`` the
reference's boxes of every picture; so what a sliced inference ought to find is known.
"""
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List

import numpy as np

Boxes = List[List[List[float]]]


def _count(job: Dict[str, Any], rows: np.ndarray) -> Dict[str, int]:
    """Compare what is found in the mosaic with what its four pictures hold."""
    from mmyolonas.deploy.targets.parity import LEAST, same_boxes
    wanted = np.array(job['mosaic_expected'])
    rows = np.asarray(rows, float).reshape(-1, 6)
    right = same_boxes(rows[:, :4], rows[:, 4], rows[:, 5].astype(int),
                       (wanted[:, :4], wanted[:, 4], wanted[:, 5].astype(int)))
    return dict(right=right, wanted=len(wanted), found=int((rows[:, 4] > LEAST).sum()))


def _sahi_model(path: str) -> Any:
    from sahi import AutoDetectionModel

    return AutoDetectionModel.from_pretrained('mmyolonas', path, confidence_threshold=0.01,
                                              device='cpu')


def _sahi_rows(result: Any) -> List[List[float]]:
    return [[*item.bbox.to_xyxy(), item.score.value, item.category.id]
            for item in result.object_prediction_list]


def sahi_whole(job: Dict[str, Any]) -> Boxes:
    """``get_prediction``."""
    from sahi.predict import get_prediction
    model = _sahi_model(job['file'])
    return [_sahi_rows(get_prediction(image, model, verbose=0)) for image in job['images']]


def sahi_sliced(job: Dict[str, Any]) -> Dict[str, int]:
    """``get_sliced_prediction``."""
    from sahi.predict import get_sliced_prediction
    side = job['side']
    result = get_sliced_prediction(
        job['mosaic'], _sahi_model(job['file']), side, side, 0., 0., verbose=0,
        perform_standard_pred=False, postprocess_type='NMS', postprocess_match_metric='IOU',
        postprocess_match_threshold=job['iou'])
    return _count(job, np.array(_sahi_rows(result)))


def sahi_command(job: Dict[str, Any]) -> Dict[str, int]:
    """``python -m mmyolonas.run sahi predict``, with COCO's annotations in and results out."""
    side = str(job['side'])
    with tempfile.TemporaryDirectory() as folder:
        picture = Path(job['mosaic'])
        described = dict(
            images=[dict(id=1, file_name=picture.name, width=2 * job['side'],
                         height=2 * job['side'])], annotations=[],
            categories=[dict(id=index, name=name) for index, name in enumerate(job['classes'])])
        Path(folder, 'images.json').write_text(json.dumps(described))
        subprocess.run(
            [sys.executable, '-m', 'mmyolonas.run', 'sahi', 'predict', '--model_type', 'mmyolonas',
             '--model_path', job['file'], '--model_confidence_threshold', '0.01',
             '--model_device', 'cpu', '--source', str(picture.parent), '--dataset_json_path',
             f'{folder}/images.json', '--slice_height', side, '--slice_width', side,
             '--overlap_height_ratio', '0', '--overlap_width_ratio', '0',
             '--no_standard_prediction', '--postprocess_type', 'NMS',
             '--postprocess_match_metric', 'IOU', '--postprocess_match_threshold',
             str(job['iou']), '--novisual', '--project', folder, '--name', 'run'], check=True)
        found = json.loads(next(Path(folder).rglob('result.json')).read_text())
    return _count(job, np.array([
        [x, y, x + w, y + h, item['score'], item['category_id']]
        for item in found for x, y, w, h in [item['bbox']]]))


def _rows(found: Any) -> np.ndarray:
    return np.concatenate([found.xyxy, found.confidence[:, None], found.class_id[:, None]], 1)


def supervision_whole(job: Dict[str, Any]) -> Boxes:
    """``RuntimeResult.to_supervision``, filtered and suppressed by supervision."""
    from mmyolonas.runtime.runtime import Runtime
    with Runtime(job['file']) as model:
        return [_rows(model(image).to_supervision().with_nms(job['iou'])).tolist()
                for image in job['images']]


def supervision_mmdet(job: Dict[str, Any]) -> Boxes:
    """``Detections.from_mmdetection``."""
    import supervision
    from mmdet.apis import inference_detector, init_detector

    model = init_detector(job['config'], job['checkpoint'], device='cpu')
    return [_rows(supervision.Detections.from_mmdetection(
        inference_detector(model, image))).tolist() for image in job['images']]


def supervision_sliced(job: Dict[str, Any]) -> Dict[str, int]:
    """``InferenceSlicer``."""
    import cv2
    import supervision

    from mmyolonas.runtime.runtime import Runtime
    side = job['side']
    with Runtime(job['file']) as model:
        slicer = supervision.InferenceSlicer(
            lambda part: model(np.ascontiguousarray(part)).to_supervision(), (side, side), (0, 0),
            iou_threshold=job['iou'])
        return _count(job, _rows(slicer(cv2.imread(job['mosaic']))))


def tracked(job: Dict[str, Any]) -> Dict[str, Any]:
    """``trackers.ByteTrackTracker``: objects of the video that keep one number to its end."""
    import cv2
    import trackers

    from mmyolonas.runtime.runtime import Runtime
    tracker = trackers.ByteTrackTracker(frame_rate=25., track_activation_threshold=0.4,
                                        high_conf_det_threshold=0.4)
    video, frame, numbers = cv2.VideoCapture(job['video']), 0, {}
    with Runtime(job['file']) as model:
        while True:
            there, image = video.read()
            if not there:
                break
            boxes = model(image).above(0.4).to_supervision()
            # a second class of the same box would take its number away
            found = tracker.update(boxes.with_nms(job['iou'], class_agnostic=True))
            for index, true in enumerate(job['ways'][frame]):
                overlap = _overlaps(np.array(true), found.xyxy)
                if frame >= job['settled'] and overlap.max(initial=0) > 0.5:
                    numbers.setdefault(index, []).append(int(found.tracker_id[overlap.argmax()]))
            frame += 1
    needed = 0.9 * (frame - job['settled'])
    whole = [ids for ids in numbers.values() if len(ids) >= needed and len(set(ids)) == 1
             and ids[0] >= 0]
    return dict(right=len(whole), wanted=len(job['ways'][0]), found=len(
        {number for ids in numbers.values() for number in ids}))


def _overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    inner = sides.clip(0).prod(1)
    return inner / ((box[2:] - box[:2]).prod() + (others[:, 2:] - others[:, :2]).prod(1) - inner)
