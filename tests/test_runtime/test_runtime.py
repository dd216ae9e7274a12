"""The runtime without torch, against mmdet's own prediction and against itself."""
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from mmyolonas.export import export_onnx
from mmyolonas.export.metadata import ModelMetadata, Postprocess, Preprocess
from mmyolonas.runtime import numpy_ops
from mmyolonas.runtime.result import RuntimeResult
from mmyolonas.runtime.runtime import Runtime
from mmyolonas.utils import UserError
from tests.exported_models import metadata

PACKAGE = Path(__file__).resolve().parents[2]


def mmdet_prediction(model, picture):
    """Return what mmdet's pipeline and the model find in a BGR picture."""
    from mmcv.transforms import Compose
    from mmdet.structures import DetDataSample
    from mmengine.registry import init_default_scope
    init_default_scope('mmdet')
    data = Compose([
        dict(type='Resize', scale=(124, 92), keep_ratio=True),
        dict(type='mmyolonas.CenterPad', size=(128, 96))
    ])(dict(img=picture, ori_shape=picture.shape[:2], img_shape=picture.shape[:2]))
    blob = torch.from_numpy(data['img'][..., ::-1].copy()).permute(2, 0, 1)[None] / 255.
    sample = DetDataSample(metainfo=dict(
        ori_shape=picture.shape[:2], img_shape=(96, 128), scale_factor=data['scale_factor'],
        pad_param=data['pad_param']))
    with torch.no_grad():
        return model.bbox_head.predict(model.extract_feat(blob), [sample], rescale=True)[0]


def best(prediction, count):
    """Return the best boxes, scores and labels as arrays."""
    return (prediction.bboxes[:count].numpy(), prediction.scores[:count].numpy(),
            prediction.labels[:count].numpy())


@pytest.mark.parametrize('backend, nms', [('onnxruntime', 'onnx'), ('openvino', 'onnx'),
                                          ('onnxruntime', 'none')])
def test_results_equal_mmdet(zoo, image, backend, nms):  # noqa: F811
    expected = mmdet_prediction(zoo.model('detection'), image)
    with Runtime(zoo.file('detection', nms), backend) as runtime:
        result = runtime(image)
    # mmdet clips to the image before it suppresses, the graph to its input: look at
    # boxes that both have
    assert abs(len(result) - len(expected.scores)) <= 2 and len(result) > 5
    boxes, scores, labels = best(expected, None)
    matched = 0
    for box, score, label in zip(boxes, scores, labels):
        same = (np.abs(result.boxes - box).max(1) < 0.02) & (result.labels == label) & (
            np.abs(result.scores - score) < 1e-4)
        matched += int(same.any())
    assert matched >= len(scores) - 2
    assert set(result.names) <= {'ape', 'bee', 'cat'}


def test_pose_results_are_mapped_back(zoo, image):  # noqa: F811
    # 80 x 100 fits into 128 x 96 with the ratio 1.2, at the top left
    padded = np.full((96, 128, 3), 127, np.uint8)
    padded[:, :120] = cv2.resize(image, (120, 96))
    decoded = zoo.decoded('pose', (padded.transpose(2, 0, 1)[None] / 255).astype(np.float32))
    rules = metadata('pose').postprocess
    boxes, scores, _, prior = numpy_ops.suppress(
        decoded['boxes'][0], decoded['scores'][0], rules)
    for nms in ('onnx', 'none'):
        with Runtime(zoo.file('pose', nms)) as runtime:
            result = runtime(image)
        assert len(result) == len(scores) > 1
        assert np.allclose(result.boxes, boxes / 1.2, atol=0.01)
        assert np.allclose(result.keypoints, decoded['keypoints'][0, prior] / 1.2, atol=0.01)
        assert np.allclose(result.keypoint_scores, decoded['keypoint_scores'][0, prior],
                           atol=1e-4)
        assert result.skeleton == [[0, 1], [1, 2]]
    picture = result.draw(image)
    assert picture.shape == image.shape and (picture != image).any()


def test_batches_give_the_same_results(zoo, image):  # noqa: F811
    images = [image, image[::-1].copy(), image[:, ::-1].copy()]
    with Runtime(zoo.file()) as runtime:
        expected = [runtime(picture) for picture in images]
    for path, size in ((zoo.file('detection', 'onnx', 'batch'), 2),
                       (zoo.file('detection', 'onnx', 'none', 4), 1)):
        with Runtime(path, batch_size=size) as runtime:
            results = runtime(iter(images))
        assert len(results) == 3
        for one, other in zip(expected, results):
            assert np.allclose(one.boxes, other.boxes, atol=0.01)
            assert np.array_equal(one.labels, other.labels)
    with Runtime(zoo.file()) as runtime:
        assert runtime([]) == []


def test_efficient_nms_outputs_are_understood(zoo, image, monkeypatch):  # noqa: F811
    from mmyolonas import runtime as sessions
    with Runtime(zoo.file('detection', 'none')) as raw:
        expected = raw(image)
        blob, _ = raw.preprocess([image])
        decoded = raw.infer(blob)
    boxes, scores, labels, _ = numpy_ops.suppress(
        decoded['boxes'][0], decoded['scores'][0], raw.metadata.postprocess, (128, 96))
    shuffled = np.random.default_rng(0).permutation(len(boxes))

    class Plugin(sessions.Session):
        """A session with the plugin's outputs, in no order."""

        def __init__(self):
            super().__init__('plugin.engine')
            self.inputs = [sessions.TensorInfo('input', (1, 3, 96, 128), 'float32')]
            meta = metadata('detection')
            meta.postprocess.nms = 'efficient_nms'
            self.props = meta.to_props()

        def _run(self, feed):
            count = len(boxes)
            pad = np.zeros((1, 50 - count))
            return dict(
                num_dets=np.array([[count]], np.int32),
                boxes=np.concatenate([boxes[shuffled][None], np.zeros((1, 50 - count, 4))], 1),
                scores=np.concatenate([scores[shuffled][None], pad], 1),
                labels=np.concatenate([labels[shuffled][None], pad], 1).astype(np.int32))

    monkeypatch.setattr('mmyolonas.runtime.runtime.open_session', lambda *args: Plugin())
    result = Runtime('plugin.engine')(image)
    assert np.allclose(result.boxes, expected.boxes) and len(result) == len(expected)
    assert np.array_equal(result.labels, expected.labels)


def test_thresholds(zoo, image):  # noqa: F811
    with Runtime(zoo.file(), score_threshold=0.5) as runtime:
        high = runtime(image)
    with Runtime(zoo.file()) as runtime:
        everything = runtime(image)
    assert 0 < len(high) < len(everything) and (high.scores > 0.5).all()
    assert len(everything.above(0.5)) == len(high)
    with Runtime(zoo.file('detection', 'none'), score_threshold=0.1) as runtime:
        assert len(runtime(image)) > len(everything)
    with pytest.raises(ValueError, match='below the 0.2'):
        Runtime(zoo.file(), score_threshold=0.1)


def test_other_input_sizes(zoo, image):  # noqa: F811
    path = zoo.file('detection', 'onnx', 'shape')
    with Runtime(path, input_size=(160, 128)) as runtime:
        blob, geometries = runtime.preprocess([image])
        assert blob.shape == (1, 3, 128, 160)
        # 124 x 92 within 128 x 96 becomes 156 x 124 within 160 x 128
        assert geometries[0].scale == pytest.approx((155 / 100, 124 / 80))
        assert len(runtime(image)) > 0
    with pytest.raises(ValueError, match='takes images of 128 x 96'):
        Runtime(zoo.file(), input_size=(64, 64))


def test_bad_input(zoo, image, tmp_path):  # noqa: F811
    with pytest.raises(FileNotFoundError, match='no such model file'):
        Runtime(str(tmp_path / 'm.onnx'))
    with pytest.raises(ValueError, match='cannot tell the runtime'):
        Runtime(str(tmp_path / 'm.bin'))
    with pytest.raises(ValueError, match='backend must be one of'):
        Runtime(zoo.file(), 'tvm')
    with pytest.raises(ValueError, match='tensorrt loads .engine or .plan files'):
        Runtime(zoo.file(), 'tensorrt')
    with pytest.raises(ValueError, match='TensorRT; export with nms="onnx"'):
        Runtime(zoo.file('detection', 'efficient_nms'))
    broken = tmp_path / 'broken.onnx'
    broken.write_bytes(b'no graph')
    for backend in ('onnxruntime', 'openvino'):
        with pytest.raises(ValueError, match='cannot (load|read)'):
            Runtime(str(broken), backend)
    with pytest.raises(RuntimeError, match='no CUDA provider'):
        Runtime(zoo.file(), device='cuda')
    with pytest.raises(ValueError, match='batch_size'):
        Runtime(zoo.file(), batch_size=0)
    with Runtime(zoo.file()) as runtime:
        for wrong, error, message in (
                (str(tmp_path / 'no.jpg'), FileNotFoundError, 'no such image'),
                (str(broken), UserError, 'not an image'),
                (image.astype(np.float32), TypeError, 'images are uint8'),
                (image[..., 0], ValueError, 'height, width, 3'),
                (3, TypeError, 'not iterable')):
            with pytest.raises(error, match=message):
                runtime(wrong)


def test_file_from_elsewhere(zoo, tmp_path, image):  # noqa: F811
    import onnx
    model = onnx.load(zoo.file())
    del model.metadata_props[:]
    path = str(tmp_path / 'foreign.onnx')
    onnx.save(model, path)
    for backend in ('onnxruntime', 'openvino'):
        with pytest.raises(ValueError, match='carries no mmyolonas meta data'):
            Runtime(path, backend)
    with Runtime(path, metadata=metadata('detection')) as runtime, Runtime(zoo.file()) as same:
        assert np.array_equal(runtime(image).boxes, same(image).boxes)
    model.metadata_props.add(key='format', value='mmyolonas/99')
    onnx.save(model, path)
    with pytest.raises(ValueError, match='export the model again'):
        Runtime(path)


def test_missing_runtime_has_its_command(zoo, monkeypatch):  # noqa: F811
    for backend in ('onnxruntime', 'openvino'):
        monkeypatch.setitem(sys.modules, backend, None)
        with pytest.raises(ImportError, match=f'pip install {backend}'):
            Runtime(zoo.file(), backend)


@pytest.mark.parametrize('shape', [(80, 100), (33, 200), (300, 41)])
def test_letterbox_equals_the_transforms(shape):
    from mmcv.transforms import Compose
    from mmengine.registry import init_default_scope

    import mmyolonas.datasets  # noqa: F401
    init_default_scope('mmdet')
    picture = np.random.default_rng(1).integers(0, 256, (*shape, 3), dtype=np.uint8)
    steps = [dict(type='mmdet.Resize', scale=(124, 92), keep_ratio=True),
             dict(type='mmyolonas.CenterPad', size=(128, 96))]
    how = metadata('detection').preprocess
    if shape[0] > shape[1]:  # mmcv reads the scale as long and short side
        with pytest.raises(ValueError, match='does not fit'):
            Compose(steps)(dict(img=picture, img_shape=shape))
        return  # the runtime shrinks it, see test_an_upright_image_among_others
    data = Compose(steps)(dict(img=picture, img_shape=shape))
    blob, geometry = numpy_ops.letterbox(picture, how)
    expected = data['img'][..., ::-1].transpose(2, 0, 1).astype(np.float32) / np.float32(255)
    assert np.array_equal(blob, expected)
    assert geometry.scale == pytest.approx(tuple(data['scale_factor']))
    top, _, left, _ = data['pad_param']
    assert geometry.offset == (left, top)
    pose = Compose([dict(type='mmyolonas.PoseResizePad', input_size=(128, 96))])(
        dict(img=picture))
    blob, geometry = numpy_ops.letterbox(picture, metadata('pose').preprocess)
    assert np.array_equal(blob, pose['img'].transpose(2, 0, 1).astype('f') / np.float32(255))
    point = np.array([[50., 40.]])
    back = point / 1. * pose['input_scale'] / pose['input_size'] + (
        pose['input_center'] - pose['input_scale'] / 2)
    assert np.allclose(geometry.to_image(point), back, atol=1e-4)


def test_resizing_without_opencv(monkeypatch, image):  # noqa: F811
    expected = cv2.resize(image, (124, 92))
    monkeypatch.setattr(numpy_ops, 'cv2', None)
    got = numpy_ops.resize(image, 124, 92)
    assert np.abs(got.astype(int) - expected).max() <= 2
    how = Preprocess(resize_size=[128, 96], pad_size=[128, 96], pad_position='center')
    blob, _ = numpy_ops.letterbox(image, how)
    assert blob.shape == (3, 96, 128) and blob.max() <= 1
    with pytest.raises(ImportError, match='opencv'):
        numpy_ops.read_image(__file__)


def test_padding_to_a_divisor():
    how = Preprocess(resize_size=None, pad_size=None, pad_divisor=32, mean=[1., 2., 3.],
                     std=[1., 1., 1.], channel_order='BGR', pad_value=[0., 0., 0.])
    blob, geometry = numpy_ops.letterbox(np.full((40, 33, 3), 9, np.uint8), how)
    assert blob.shape == (3, 64, 64) and geometry.offset == (0, 0)
    assert blob[:, 0, 0].tolist() == [8, 7, 6] and blob[:, 50, 50].tolist() == [-1, -2, -3]


def test_description_survives_the_file():
    meta = ModelMetadata(
        task='pose', class_names=['ä'], input_size=[64, 32],
        postprocess=Postprocess(nms='none', score_threshold=0.125), skeleton=[[0, 1]])
    assert ModelMetadata.from_props(meta.to_props()) == meta
    with pytest.raises(ValueError, match='task must be one of'):
        ModelMetadata(task='segmentation')


def test_result_names_unknown_labels():
    result = RuntimeResult(np.zeros((1, 4)), np.ones(1), np.array([7]), ['a'], (4, 4))
    assert result.names == ['7'] and len(result) == 1


@pytest.mark.parametrize('hidden', ['torch', 'torch cv2'])
def test_runs_where_there_is_no_torch(zoo, image, tmp_path, hidden):  # noqa: F811
    cv2.imwrite(str(tmp_path / 'i.png'), image)
    np.save(tmp_path / 'i.npy', image)
    script = f'''
import sys
for name in {hidden.split()!r} + ['mmengine', 'mmcv', 'mmdet', 'torchvision']:
    sys.modules[name] = None
import numpy as np
from mmyolonas.apis import Runtime
with Runtime({zoo.file()!r}) as runtime:
    print(len(runtime(np.load({str(tmp_path / "i.npy")!r}))))
'''
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True,
                          cwd=PACKAGE)
    assert done.returncode == 0, done.stderr[-2000:]
    with Runtime(zoo.file()) as runtime:
        assert abs(int(done.stdout) - len(runtime(image))) <= (3 if 'cv2' in hidden else 0)


def test_export_settings_reach_the_runtime(zoo, image, tmp_path):  # noqa: F811
    meta = metadata('detection')
    meta.preprocess.in_graph = True
    path = export_onnx(zoo.model('detection'), str(tmp_path / 'raw.onnx'), (1, 3, 96, 128),
                       metadata=meta).path
    with Runtime(path) as runtime, Runtime(zoo.file()) as same:
        assert runtime.preprocess([image])[0].dtype == np.uint8
        assert np.allclose(runtime(image).boxes, same(image).boxes, atol=0.01)


def test_an_upright_image_among_others(zoo, image, tmp_path):  # noqa: F811
    """It is shrunk to fit, and the list is complete and in order."""
    upright = np.ascontiguousarray(np.rot90(image))
    for name in ('a.png', 'b.png', 'c.png'):
        cv2.imwrite(str(tmp_path / name), upright if name == 'b.png' else image)
    paths = sorted(map(str, tmp_path.iterdir()))
    for file, size in ((zoo.file(), 1), (zoo.file(dynamic='shape'), 3)):
        with Runtime(file, batch_size=size) as runtime:
            alone = [runtime(path) for path in paths]
            together = runtime(paths)
            assert [result.image_size for result in together] == [
                image.shape[1::-1], upright.shape[1::-1], image.shape[1::-1]]
            for one, other in zip(alone, together):
                assert len(one) and np.allclose(one.boxes, other.boxes, atol=1e-2)
            width, height = together[1].image_size
            assert (together[1].boxes <= [width, height, width, height]).all()
    with Runtime(zoo.file()) as runtime:
        plane, geometry = numpy_ops.letterbox(upright, runtime.preprocessing)
        assert plane.shape == (3, 96, 128)
        corners = np.array([[0, 0], upright.shape[1::-1]]) * geometry.scale + geometry.offset
        assert np.allclose(geometry.to_image(corners), [[0, 0], upright.shape[1::-1]], atol=1e-3)
        assert corners[1, 1] == 96  # as large as it can be


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_half_an_image_is_an_error(zoo, image, tmp_path, suffix):  # noqa: F811
    path = tmp_path / f'half{suffix}'
    data = cv2.imencode(suffix, image)[1].tobytes()
    path.write_bytes(data[:len(data) // 2])
    with Runtime(zoo.file()) as runtime, pytest.raises(UserError, match='cut short'):
        runtime(str(path))


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
@pytest.mark.parametrize('nms', ['onnx', 'none'])
def test_weights_that_are_not_numbers(zoo, nms, backend, tmp_path):  # noqa: F811
    import onnx
    pytest.importorskip(backend)
    model = onnx.load(zoo.file(nms=nms))
    weights = [item for item in model.graph.initializer if item.data_type == 1 and item.raw_data]
    values = onnx.numpy_helper.to_array(weights[-1]).copy()
    values.flat[0] = np.nan
    weights[-1].raw_data = values.tobytes()
    onnx.save(model, str(tmp_path / 'nan.onnx'))
    with pytest.raises(ValueError, match='not numbers'):
        Runtime(str(tmp_path / 'nan.onnx'), backend)


def test_outputs_that_are_not_numbers(zoo, image):  # noqa: F811
    with Runtime(zoo.file(nms='none')) as runtime:
        blob, geometries = runtime.preprocess([image])
        outputs = runtime.infer(blob)
        outputs['scores'][0, 5, 0] = np.nan
        with pytest.raises(ValueError, match='scores that are not numbers'):
            runtime.postprocess(outputs, geometries)


@pytest.mark.parametrize('nms', ['onnx', 'efficient_nms', 'none'])
def test_boxes_beside_the_image_are_not_returned(zoo, nms):  # noqa: F811
    """A file may find something in the padding; clipped to the image it has no area."""
    with Runtime(zoo.file(nms='none')) as runtime:
        runtime.metadata.postprocess.nms = nms
        picture = np.zeros((96, 64, 3), np.uint8)
        _, geometries = runtime.preprocess([picture])
        assert geometries[0].offset[0] > 20
        boxes = np.array([[[30, 10, 80, 60], [1, 10, 12, 60], [50, 5, 50, 80]]], np.float32)
        scores = np.array([[0.9, 0.8, 0.7]], np.float32)
        outputs = dict(
            onnx=dict(dets=np.concatenate([boxes, scores[..., None]], -1),
                      labels=np.zeros((1, 3), np.int64)),
            efficient_nms=dict(num_dets=np.array([[3]]), boxes=boxes, scores=scores,
                               labels=np.zeros((1, 3), np.int64)),
            none=dict(boxes=boxes, scores=scores[..., None]))[nms]
        result, = runtime.postprocess(outputs, geometries)
        assert result.scores.tolist() == [np.float32(0.9)]
