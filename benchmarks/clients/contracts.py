"""What four consumers make of their flavour, typed again from their public code's field orders.

Each function returns for every picture ``rows`` (x1, y1, x2, y2, score, label in pixels of the
picture), ``net`` (the same in pixels of the network's input) and ``pixels``, what the consumer
fed as RGB within 0..1, (1, 3, H, W). So each is compared twice: with PyTorch on the same pixels,
which is the contract, and with PyTorch on the picture prepared as in training, which shows what
the consumer's own preparation costs.
"""
import ast
import configparser
import json
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np

Seen = List[Dict[str, Any]]


def suppressed(rows: np.ndarray, limit: float, most: int = 300) -> np.ndarray:
    """Return the best rows of each class that do not overlap a better one."""
    left: List[np.ndarray] = []
    for row in rows[np.argsort(-rows[:, 4], kind='stable')]:
        for better in left:
            inner = (np.minimum(row[2:4], better[2:4]) - np.maximum(row[:2], better[:2])
                     ).clip(0).prod()
            areas = (row[2:4] - row[:2]).prod() + (better[2:4] - better[:2]).prod()
            if row[5] == better[5] and inner > limit * (areas - inner):
                break
        else:
            left.append(row)
    return np.array(left[:most]).reshape(-1, 6)


def _session(path: str) -> Any:
    import onnxruntime
    return onnxruntime.InferenceSession(path, providers=['CPUExecutionProvider'])


def _seen(net: np.ndarray, pixels: np.ndarray, scale: np.ndarray, offset: np.ndarray,
          image: np.ndarray) -> Dict[str, Any]:
    """Return what is compared; boxes end where the input and the picture do."""
    net = np.array(net, np.float64).reshape(-1, 6)
    net[:, :4] = net[:, :4].clip(0, np.tile(pixels.shape[:1:-1], 2))
    rows = net.copy()
    rows[:, :4] = ((net[:, :4] - np.tile(offset, 2)) / np.tile(scale, 2)).clip(
        0, np.tile(image.shape[1::-1], 2))
    return dict(rows=rows.tolist(), net=net.tolist(), pixels=pixels.tolist())


Placed = Tuple[np.ndarray, np.ndarray, np.ndarray]


def _placed(image: np.ndarray, width: int, height: int, pad: int, centre: bool,
            rounding: float = 0., realised: bool = False) -> Placed:
    """Return the picture resized to fit, on a ground of ``pad``, its scale and its corner.

    ``realised``: the scale is that of the rounded sides.
    """
    import cv2
    scale = min(width / image.shape[1], height / image.shape[0])
    w, h = round(image.shape[1] * scale), round(image.shape[0] * scale)
    ground = np.full((height, width, 3), pad, np.uint8)
    x, y = (round((width - w) / 2 - rounding), round((height - h) / 2 - rounding)) if (
        centre) else (0, 0)
    ground[y:y + h, x:x + w] = cv2.resize(image, (w, h), interpolation=cv2.INTER_LINEAR)
    back = (w / image.shape[1], h / image.shape[0]) if realised else (scale, scale)
    return ground, np.array(back), np.array([x, y])


def _unit(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[None, ..., ::-1].transpose(0, 3, 1, 2), np.float32) / 255


def frigate(job: Dict[str, Any]) -> Seen:
    """A square region of the frame, resized; rows of seven until a class of -1, at most 20."""
    import cv2
    session, found = _session(job['file']), []
    height, width = session.get_inputs()[0].shape[2:]
    for path in job['images']:
        frame = cv2.imread(path)
        side = min(frame.shape[:2])
        y, x = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
        region = cv2.resize(frame[y:y + side, x:x + side], (width, height))
        feed = np.ascontiguousarray(region[None].transpose(0, 3, 1, 2))
        detections = np.zeros((20, 6), np.float32)
        for index, row in enumerate(session.run(None, {'input': feed})[0][:20]):
            _, x1, y1, x2, y2, score, label = row
            if label < 0:
                break
            detections[index] = [label, score, y1 / height, x1 / width, y2 / height, x2 / width]
        kept = detections[detections[:, 1] > 0]
        net = np.stack([kept[:, 3] * width, kept[:, 2] * height, kept[:, 5] * width,
                        kept[:, 4] * height, kept[:, 1], kept[:, 0]], 1)
        scale = np.array([width / side, height / side])
        found.append(_seen(net, _unit(region), scale, -np.array([x, y]) * scale, frame))
    return found


def deepstream(job: Dict[str, Any]) -> Seen:
    """Nvinfer by the configuration beside the file, NvDsInferParseYolo, then cluster-mode 2."""
    import cv2
    parser = configparser.ConfigParser()
    parser.read(Path(job['file']).with_name('config_infer_primary_yolonas.txt'))
    told, limits = parser['property'], parser['class-attrs-all']
    assert told['parse-bbox-func-name'] == 'NvDsInferParseYolo' and told['cluster-mode'] == '2'
    assert told['maintain-aspect-ratio'] == '1' and told['onnx-file'] == Path(job['file']).name
    session, found = _session(job['file']), []
    height, width = session.get_inputs()[0].shape[2:]
    for path in job['images']:
        image = cv2.imread(path)
        placed, scale, offset = _placed(image, width, height, 0,
                                        told['symmetric-padding'] == '1')
        ordered = placed if told['model-color-format'] == '1' else placed[..., ::-1]
        feed = np.ascontiguousarray(ordered[None].transpose(0, 3, 1, 2), np.float32) * np.float32(
            told['net-scale-factor'])
        output = session.run(['output'], {'input': feed})[0][0]
        rows = output[output[:, 4] >= float(limits['pre-cluster-threshold'])]
        rows[:, :4] = rows[:, :4].clip(0, [width, height, width, height])
        rows = rows[(rows[:, 2] - rows[:, 0] >= 1) & (rows[:, 3] - rows[:, 1] >= 1)]
        net = suppressed(rows, float(limits['nms-iou-threshold']), int(limits['topk']))
        found.append(_seen(net, _unit(placed), scale, offset, image))
    return found


def ultralytics(job: Dict[str, Any]) -> Seen:
    """Properties as Python literals; centre padding of 114; (4 + C, L); the best class counts."""
    import cv2
    session, found = _session(job['file']), []
    told = session.get_modelmeta().custom_metadata_map
    names, (height, width) = ast.literal_eval(told['names']), ast.literal_eval(told['imgsz'])
    assert told['task'] == 'detect' and told['batch'] == '1' and int(told['stride']) == 32
    for path in job['images']:
        image = cv2.imread(path)
        placed, scale, offset = _placed(image, width, height, 114, True, 0.1)
        output = session.run(['output0'], {'images': _unit(placed)})[0][0].T
        assert output.shape[1] == 4 + len(names)
        half, label = output[:, 2:4] / 2, output[:, 4:].argmax(1)
        rows = np.concatenate([output[:, :2] - half, output[:, :2] + half,
                               output[:, 4:].max(1)[:, None], label[:, None]], 1)
        net = suppressed(rows[rows[:, 4] > 0.01], job['iou'])
        found.append(_seen(net, _unit(placed), scale, offset, image))
    return found


def maps(job: Dict[str, Any]) -> Seen:
    """Per stride: bins of the four distances from the centre of a cell, and class logits."""
    import cv2
    session, found = _session(job['file']), []
    names = [item.name for item in session.get_outputs()]
    height, width = session.get_inputs()[0].shape[2:]
    how = json.loads(session.get_modelmeta().custom_metadata_map['preprocess'])
    for path in job['images']:
        image = cv2.imread(path)
        placed, scale, offset = _placed(image, width, height, how['pad_value'],
                                        how['pad_position'] == 'center',
                                        realised=how['inverse'] == 'realised')
        values = dict(zip(names, session.run(names, {'input': _unit(placed)})))
        parts = []
        for stride in (8, 16, 32):
            reg, logits = values[f'reg_{stride}'][0], values[f'cls_{stride}'][0]
            bins = np.exp(reg.reshape(4, -1, *reg.shape[1:]))
            steps = np.arange(bins.shape[1]).reshape(1, -1, 1, 1)
            left, top, right, bottom = (bins * steps).sum(1) / bins.sum(1)
            y, x = np.mgrid[:reg.shape[1], :reg.shape[2]] + 0.5
            scores = 1 / (1 + np.exp(-logits))
            cells = [x - left, y - top, x + right, y + bottom]
            parts.append(np.stack([*(cell * stride for cell in cells), scores.max(0),
                                   scores.argmax(0)]).reshape(6, -1).T)
        rows = np.concatenate(parts)
        net = suppressed(rows[rows[:, 4] > 0.01], job['iou'])
        found.append(_seen(net, _unit(placed), scale, offset, image))
    return found
