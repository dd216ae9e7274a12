"""Every end of an exported file: its names, shapes and properties, and what its readers make of it.

The readers are typed again from the field orders of the consumers' public code: Frigate's
``yolonas`` model type, DeepStream-Yolo's ``NvDsInferParseYolo``, Ultralytics' ONNX loader and
RKNN's model zoo (PP-YOLOE). What they find is compared with PyTorch's own decoding.
"""
import ast
import importlib
import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from mmyolonas.export import export_onnx, get_metadata
from mmyolonas.export.completion import complete_onnx
from mmyolonas.export.flavours import FLAVOURS, output_names, write_deepstream_files
from mmyolonas.runtime import convert_openvino
from mmyolonas.runtime.numpy_ops import suppress
from mmyolonas.runtime.runtime import Runtime
from tests.exported_models import metadata, pixels

PRIORS = 12 * 16 + 6 * 8 + 3 * 4  # of 96 x 128 pixels
MAPS = [(8, 12, 16), (16, 6, 8), (32, 3, 4)]
WANTED = {
    ('detection', 'onnx'): ('input', 1, dict(dets=[1, 50, 5], labels=[1, 50])),
    ('detection', 'efficient_nms'): ('input', 1, dict(
        num_dets=[1, 1], boxes=[1, 50, 4], scores=[1, 50], labels=[1, 50])),
    ('detection', 'none'): ('input', 1, dict(boxes=[1, PRIORS, 4], scores=[1, PRIORS, 3])),
    ('detection', 'flat'): ('input', 2, dict(flat_predictions=[50, 7])),
    ('detection', 'deepstream'): ('input', 1, dict(output=[1, PRIORS, 6])),
    ('detection', 'ultralytics'): ('images', 1, dict(output0=[1, 7, PRIORS])),
    ('detection', 'maps'): ('input', 1, {
        f'{name}_{s}': [1, channels, h, w] for s, h, w in MAPS
        for name, channels in (('reg', 68), ('cls', 3))}),
    ('pose', 'onnx'): ('input', 1, dict(dets=[1, 20, 5], keypoints=[1, 20, 5, 3])),
    ('pose', 'none'): ('input', 1, dict(
        boxes=[1, PRIORS, 4], scores=[1, PRIORS, 1], keypoints=[1, PRIORS, 5, 2],
        keypoint_scores=[1, PRIORS, 5])),
    ('pose', 'flat'): ('input', 2, dict(flat_predictions=[20, 21])),
    ('pose', 'ultralytics'): ('images', 1, dict(output0=[1, 20, PRIORS])),
    ('pose', 'maps'): ('input', 1, {
        f'{name}_{s}': [1, channels, h, w] for s, h, w in MAPS
        for name, channels in (('reg', 68), ('cls', 1), ('offset', 10), ('point', 5))}),
}
OWN_KEYS = {'format', 'task', 'class_names', 'input_size', 'preprocess', 'postprocess',
            'keypoint_names', 'skeleton', 'keypoint_sigmas', 'strides', 'model',
            'mmyolonas_version'}
LOADER_KEYS = {'names', 'task', 'stride', 'imgsz', 'batch', 'description', 'author', 'version'}


def ids(value):
    return value if isinstance(value, str) else None


def props(path):
    return {prop.key: prop.value for prop in onnx.load(path).metadata_props}


def run(path, feed):
    session = ort.InferenceSession(path, providers=['CPUExecutionProvider'])
    values = session.run(None, {session.get_inputs()[0].name: feed})
    return dict(zip([output.name for output in session.get_outputs()], values))


def test_the_table_is_complete():
    assert {(task, name) for name, item in FLAVOURS.items() for task in item.outputs} == set(WANTED)
    for item in FLAVOURS.values():
        assert item.readers
        assert all(shape.startswith('(B') for rows in item.outputs.values() for _, shape in rows)


@pytest.mark.parametrize('task, name', list(WANTED), ids=ids)
def test_names_shapes_and_properties(zoo, task, name):
    path = zoo.file(task, name)
    graph = onnx.load(path).graph
    input_name, kind, outputs = WANTED[task, name]
    assert [value.name for value in graph.input] == [input_name]
    assert graph.input[0].type.tensor_type.elem_type == kind  # 1 float32, 2 uint8
    got = {value.name: [side.dim_value for side in value.type.tensor_type.shape.dim]
           for value in graph.output}
    assert list(got) == list(outputs) == output_names(name, task)
    if name != 'efficient_nms':  # a plugin, whose shapes ONNX does not infer
        assert got == outputs
        shapes = {key: list(value.shape) for key, value in run(path, np.zeros(
            (1, 3, 96, 128), np.uint8 if kind == 2 else np.float32)).items()}
        assert shapes == outputs
    if name != 'ultralytics':
        assert set(props(path)) == OWN_KEYS
    else:
        extra = {'mmyolonas_task'} | ({'kpt_shape'} if task == 'pose' else set())
        assert set(props(path)) == OWN_KEYS | LOADER_KEYS | extra
    assert get_metadata(path).task == task


def pairs(found, other, pixels=0.02, score=1e-3):
    """Return how many rows x1, y1, x2, y2, score, class are in both."""
    used, count = set(), 0
    for row in found:
        for index, candidate in enumerate(other):
            if index not in used and row[5] == candidate[5] and (
                    np.abs(row[:4] - candidate[:4]).max() < pixels) and (
                    abs(row[4] - candidate[4]) < score):
                used.add(index)
                count += 1
                break
    return count


def reference(zoo, image, multi_label=True, task='detection'):
    """Return PyTorch's decoding, suppressed, as rows; and the priors that are left."""
    decoded = zoo.decoded(task, image)
    rules = metadata(task).postprocess
    rules.multi_label = multi_label
    boxes, scores, labels, prior = suppress(
        decoded['boxes'][0], decoded['scores'][0], rules, (128, 96))
    return np.concatenate([boxes, scores[:, None], labels[:, None]], axis=1), prior, decoded


def overlap_suppression(rows, limit):
    """Return the rows that one suppression per class leaves, best first."""
    left = []
    for row in sorted(rows, key=lambda row: -row[4]):
        for best in left:
            sides = np.minimum(row[2:4], best[2:4]) - np.maximum(row[:2], best[:2])
            inner = sides.clip(0).prod()
            areas = (row[2:4] - row[:2]).prod() + (best[2:4] - best[:2]).prod()
            if row[5] == best[5] and inner > limit * (areas - inner):
                break
        else:
            left.append(row)
    return np.array(left)


def raw_image():
    """Return BGR bytes (1, 3, 96, 128) and the network's input for them (RGB)."""
    raw = (pixels(1, 96, 128) * 255).astype(np.uint8)
    return raw, raw[:, ::-1].astype(np.float32) / 255


def test_frigate_reads_flat(zoo):
    """Rows of seven until a class of -1; at most 20; normalised by the model's sides."""
    raw, image = raw_image()
    rows, seen = run(zoo.file('detection', 'flat'), raw)['flat_predictions'], []
    for row in rows[:20]:
        _, left, top, right, bottom, score, label = row
        if label < 0:
            break
        seen.append([label, score, top / 96, left / 128, bottom / 96, right / 128])
    got = np.array([[x1 * 128, y1 * 96, x2 * 128, y2 * 96, score, label]
                    for label, score, y1, x1, y2, x2 in seen])
    expected, _, _ = reference(zoo, image)
    assert abs(len(got) - min(len(expected), 20)) <= 1 and len(got) > 5
    assert pairs(got, expected) >= len(got) - 1  # ties may change places
    assert (rows[:, 0] == 0).all()
    beyond = rows[rows[:, 6] < 0]
    assert (beyond[:, 6] == -1).all() and not beyond[:, 1:6].any()


def test_flat_rows_name_their_image(zoo, tmp_path):
    path = export_onnx(zoo.model('detection'), str(tmp_path / 'm.onnx'), (1, 3, 96, 128),
                       nms='flat', metadata=metadata('detection'), dynamic='batch').path
    raw, image = raw_image()
    both = np.concatenate([raw, raw[:, :, ::-1]])
    rows = run(path, both)['flat_predictions']
    assert rows.shape == (100, 7) and rows[:, 0].tolist() == [0.] * 50 + [1.] * 50
    expected, _, _ = reference(zoo, image[:, :, ::-1].copy())
    valid = rows[50:][rows[50:, 6] >= 0]
    assert pairs(valid[:, 1:], expected) >= 0.9 * len(expected) > 5


def test_flat_poses(zoo):
    raw = (pixels(1, 96, 128) * 255).astype(np.uint8)  # the pose model takes BGR
    rows = run(zoo.file('pose', 'flat'), raw)['flat_predictions']
    expected, prior, decoded = reference(zoo, raw.astype(np.float32) / 255, task='pose')
    valid = rows[rows[:, 5] > 0]
    assert len(valid) == len(expected) > 1 and not rows[len(valid):, 1:].any()
    points = valid[:, 6:].reshape(len(valid), 5, 3)
    assert np.abs(valid[:, 1:5] - expected[:, :4]).max() < 0.02
    assert np.abs(points[..., :2] - decoded['keypoints'][0, prior]).max() < 0.02
    assert np.abs(points[..., 2] - decoded['keypoint_scores'][0, prior]).max() < 1e-3


def test_deepstream_reads_its_flavour(zoo, tmp_path):
    """One output of six columns; boxes clipped to the net; thinner than a pixel is dropped."""
    image, config = pixels(1, 96, 128), {}
    path = tmp_path / 'end2end.onnx'
    path.write_bytes(Path(zoo.file('detection', 'deepstream')).read_bytes())
    files = write_deepstream_files(str(path), get_metadata(str(path)))
    assert [name.rsplit('/', 1)[1] for name in files] == [
        'config_infer_primary_yolonas.txt', 'labels.txt']
    for line in Path(files[0]).read_text().splitlines():
        if '=' in line:
            key, _, value = line.partition('=')
            config[key] = value
    assert (tmp_path / config['onnx-file']).is_file()
    assert (tmp_path / config['labelfile-path']).read_text().split() == ['ape', 'bee', 'cat']
    assert config['parse-bbox-func-name'] == 'NvDsInferParseYolo'
    assert config['cluster-mode'] == '2' and config['num-detected-classes'] == '3'
    assert config['symmetric-padding'] == '1' and config['model-color-format'] == '0'
    assert float(config['net-scale-factor']) == pytest.approx(1 / 255)
    (name, table), = run(str(path), image).items()
    assert name == 'output'
    rows = []
    for x1, y1, x2, y2, score, label in table[0]:
        if score < float(config['pre-cluster-threshold']):
            continue
        left, top = np.clip([x1, y1], 0, [128, 96])
        right, bottom = np.clip([x2, y2], 0, [128, 96])
        if right - left >= 1 and bottom - top >= 1:
            rows.append([left, top, right, bottom, score, label])
    got = overlap_suppression(np.array(rows), float(config['nms-iou-threshold']))
    expected, _, _ = reference(zoo, image, multi_label=False)
    got = got[:int(config['topk'])]
    assert len(got) > 3 and abs(len(got) - len(expected)) <= 1
    assert pairs(got, expected) >= 0.9 * len(expected)


def letterboxed(picture, width, height):
    """Return a picture in the middle of a grey one, RGB within 0..1; scale and border."""
    import cv2
    scale = min(width / picture.shape[1], height / picture.shape[0])
    size = round(picture.shape[1] * scale), round(picture.shape[0] * scale)
    dw, dh = (width - size[0]) / 2, (height - size[1]) / 2
    left, top = round(dw - 0.1), round(dh - 0.1)
    canvas = np.full((height, width, 3), 114, np.uint8)
    canvas[top:top + size[1], left:left + size[0]] = cv2.resize(picture, size)
    blob = canvas[..., ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
    return np.ascontiguousarray(blob), scale, left, top


@pytest.mark.parametrize('task', ['detection', 'pose'])
def test_ultralytics_reads_its_flavour(zoo, image, task):
    path = zoo.file(task, 'ultralytics')
    stored = props(path)
    names = ast.literal_eval(stored['names'])
    assert names == ({0: 'ape', 1: 'bee', 2: 'cat'} if task == 'detection' else {0: 'person'})
    assert stored['task'] == dict(detection='detect', pose='pose')[task]
    assert int(stored['stride']) == 32 and int(stored['batch']) == 1
    height, width = ast.literal_eval(stored['imgsz'])
    assert (height, width) == (96, 128)
    assert json.loads(stored['mmyolonas_task']) == task
    blob, _, _, _ = letterboxed(image, width, height)
    output, = run(path, blob).values()
    table = output[0].T
    network = blob if task == 'detection' else blob[:, ::-1].copy()  # that one takes BGR
    decoded = zoo.decoded(task, network)
    centres, sides = table[:, :2], table[:, 2:4]
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
    count = len(names)
    assert np.abs(boxes - decoded['boxes'][0]).max() < 0.01
    assert np.abs(table[:, 4:4 + count] - decoded['scores'][0]).max() < 1e-4
    if task == 'pose':
        points, fields = ast.literal_eval(stored['kpt_shape'])
        got = table[:, 5:].reshape(len(table), points, fields)
        assert np.abs(got[..., :2] - decoded['keypoints'][0]).max() < 0.01
        assert np.abs(got[..., 2] - decoded['keypoint_scores'][0]).max() < 1e-4
    else:
        assert table.shape[1] == 4 + count


def test_other_normalisation_is_in_the_ultralytics_graph(zoo, tmp_path):
    """Their loaders feed RGB within 0..1, whatever the model was trained with."""
    meta = metadata('detection')
    meta.preprocess.channel_order = 'BGR'
    meta.preprocess.mean, meta.preprocess.std = [100., 110., 120.], [50., 60., 70.]
    path = export_onnx(zoo.model('detection'), str(tmp_path / 'm.onnx'), (1, 3, 96, 128),
                       nms='ultralytics', metadata=meta).path
    rgb = pixels(1, 96, 128)
    shape = (1, 3, 1, 1)
    network = (rgb[:, ::-1] * 255 - np.array([100., 110., 120.]).reshape(shape)) / np.array(
        [50., 60., 70.]).reshape(shape)
    expected = zoo.decoded('detection', network.astype(np.float32))
    got = run(path, rgb)['output0'][0].T
    assert np.abs(got[:, 4:] - expected['scores'][0]).max() < 1e-3
    stored = get_metadata(path).preprocess
    assert (stored.channel_order, stored.mean, stored.std) == ('RGB', [0.] * 3, [255.] * 3)


def test_rknn_reads_the_maps(zoo):
    """Outputs in pairs, distances first; the classes' logits still need the sigmoid."""
    image = pixels(1, 96, 128)
    outputs = list(run(zoo.file('detection', 'maps'), image).values())
    assert len(outputs) == 6
    boxes, scores = [], []
    for reg, cls in zip(outputs[::2], outputs[1::2]):
        rows, columns = reg.shape[2:]
        x, y = np.meshgrid(np.arange(columns), np.arange(rows))
        grid = np.stack([x, y])[None] + 0.5
        step = np.array([96 // rows, 128 // columns]).reshape(1, 2, 1, 1)
        logits = reg.reshape(1, 4, -1, rows, columns)
        share = np.exp(logits) / np.exp(logits).sum(2, keepdims=True)
        sides = (share * np.arange(logits.shape[2]).reshape(1, 1, -1, 1, 1)).sum(2)
        corners = np.concatenate([(grid - sides[:, :2]) * step, (grid + sides[:, 2:]) * step], 1)
        boxes.append(corners.transpose(0, 2, 3, 1).reshape(-1, 4))
        scores.append((1 / (1 + np.exp(-cls))).transpose(0, 2, 3, 1).reshape(-1, 3))
    decoded = zoo.decoded('detection', image)
    assert np.abs(np.concatenate(boxes) - decoded['boxes'][0]).max() < 0.01
    assert np.abs(np.concatenate(scores) - decoded['scores'][0]).max() < 1e-4


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
@pytest.mark.parametrize('task, name', [key for key in WANTED if key[1] not in (
    'onnx', 'none', 'efficient_nms')], ids=ids)
def test_runtime_finds_the_same(zoo, image, task, name, backend, tmp_path):
    path = zoo.file(task, name)
    with Runtime(zoo.file(task, 'none')) as runtime:
        # a row of deepstream has one class
        runtime.metadata.postprocess.multi_label = name != 'deepstream'
        expected = runtime(image)
    if backend == 'openvino':
        path = convert_openvino(path, str(tmp_path / 'model.xml'))
    with Runtime(path) as runtime:
        result = runtime(image)
        assert runtime.metadata.postprocess.nms == name and runtime.metadata.task == task
        twice = runtime([image, image[::-1].copy()])
    assert abs(len(result) - len(expected)) <= 1 and len(result) > 1
    assert len(twice[0]) == len(result)
    found, other = (np.concatenate([r.boxes, r.scores[:, None], r.labels[:, None]], axis=1)
                    for r in (result, expected))
    assert pairs(found, other) >= 0.85 * len(other)
    if task == 'pose':
        same = min(len(result), 5)
        assert np.abs(result.keypoints[:same] - expected.keypoints[:same]).max() < 0.05
        assert np.abs(result.keypoint_scores[:same]
                      - expected.keypoint_scores[:same]).max() < 1e-3


@pytest.mark.parametrize('task, name', [key for key in WANTED if key[1] not in (
    'none', 'efficient_nms', 'maps')], ids=ids)
def test_completed_files_are_the_exported_ones(zoo, image, task, name, tmp_path):
    """What quantisation starts from gets the same ends."""
    meta = metadata(task)
    meta.postprocess.nms = name
    path = str(tmp_path / 'completed.onnx')
    complete_onnx(zoo.file(task, 'none'), path, meta)
    assert set(props(path)) == set(props(zoo.file(task, name)))
    with Runtime(path) as one, Runtime(zoo.file(task, name)) as two:
        first, second = one(image), two(image)
    assert abs(len(first) - len(second)) <= 1 and len(first) > 1
    assert np.abs(first.scores[:5] - second.scores[:5]).max() < 1e-4


def test_what_does_not_go_together(zoo, tmp_path):
    for name in ('deepstream', 'efficient_nms'):
        with pytest.raises(ValueError, match=f"nms='{name}' has no form for pose"):
            export_onnx(zoo.model('pose'), str(tmp_path / 'x.onnx'), (1, 3, 64, 64), nms=name,
                        metadata=metadata('pose'))
    with pytest.raises(ValueError, match="got 'yolo'"):
        export_onnx(zoo.model('detection'), str(tmp_path / 'x.onnx'), (1, 3, 64, 64), nms='yolo')
    meta = metadata('detection')
    meta.postprocess.nms = 'maps'
    with pytest.raises(ValueError, match='decoded boxes, from which the maps cannot'):
        complete_onnx(zoo.file('detection', 'none'), str(tmp_path / 'x.onnx'), meta)
    meta = metadata('detection')
    meta.preprocess.std = [1., 2., 3.]
    with pytest.raises(ValueError, match='nvinfer scales all channels by one factor'):
        write_deepstream_files(str(tmp_path / 'x.onnx'), meta)
    assert not list(tmp_path.iterdir())


def test_a_conversion_tells_nobody(zoo, tmp_path, monkeypatch):
    """OpenVINO's own converter reports each call over the network."""
    pytest.importorskip('openvino')  # its import is reported as well, by itself
    ovc = importlib.import_module('openvino.tools.ovc.telemetry_utils')
    told = []
    for name in ('send_event', 'start_session'):
        monkeypatch.setattr(ovc.tm.Telemetry, name, lambda *args, **_: told.append(args[1:]))
    convert_openvino(zoo.file(), str(tmp_path / 'model.xml'))
    assert not told
