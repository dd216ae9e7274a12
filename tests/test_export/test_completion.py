"""Files without suppression get what an export with it has."""
import numpy as np
import onnx
import pytest

from mmyolonas.export import get_metadata
from mmyolonas.export.completion import complete_onnx
from mmyolonas.runtime import open_session
from tests.exported_models import metadata, pixels


def completed(zoo, path, task='detection', dynamic='none', batch=1, nms='onnx', **preprocess):
    """Complete the file of the zoo without suppression; return it."""
    description = metadata(task)
    description.postprocess.nms = nms
    for key, value in preprocess.items():
        setattr(description.preprocess, key, value)
    complete_onnx(zoo.file(task, 'none', dynamic, batch), str(path), description)
    return str(path)


def run(path, image, backend='onnxruntime'):
    with open_session(path, backend) as session:
        return session.run({'input': image})


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
@pytest.mark.parametrize('dynamic, batch', [('none', 4), ('batch', 3)])
@pytest.mark.parametrize('task', ['detection', 'pose'])
@pytest.mark.long
def test_equals_an_export_with_suppression(zoo, tmp_path, task, dynamic, batch, backend):
    traced = batch if dynamic == 'none' else 1
    whole = zoo.file(task, 'onnx', dynamic, traced)
    path = completed(zoo, tmp_path / 'a.onnx', task, dynamic, traced)
    image = pixels(batch, 96, 128)
    expected, got = run(whole, image, backend), run(path, image, backend)
    assert got.keys() == expected.keys() and (expected['dets'][..., 4] > 0).sum() > 5 * batch
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, atol=2e-3, err_msg=name)
    assert get_metadata(path) == get_metadata(whole)
    names = [item.domain for item in onnx.load(path).opset_import]
    assert len(names) == len(set(names))


@pytest.mark.long
def test_raw_pixels(zoo, tmp_path):
    path = completed(zoo, tmp_path / 'a.onnx', batch=2, in_graph=True)
    plain = completed(zoo, tmp_path / 'b.onnx', batch=2)
    raw = np.random.default_rng(0).integers(0, 256, (2, 3, 96, 128), np.uint8)
    meta = get_metadata(path)
    assert meta.preprocess.in_graph and meta.preprocess.channel_order == 'RGB'
    shape = (1, 3, 1, 1)
    image = (raw[:, ::-1] - np.reshape(meta.preprocess.mean, shape)) / np.reshape(
        meta.preprocess.std, shape)
    for name, value in run(plain, image.astype(np.float32)).items():
        np.testing.assert_allclose(run(path, raw)[name], value, atol=2e-3, err_msg=name)


def test_plugin_and_description_alone(zoo, tmp_path):
    plugin = onnx.load(completed(zoo, tmp_path / 'a.onnx', nms='efficient_nms'))
    assert [output.name for output in plugin.graph.output] == [
        'num_dets', 'boxes', 'scores', 'labels']
    assert plugin.graph.node[-1].op_type == 'EfficientNMS_TRT'
    raw = completed(zoo, tmp_path / 'b.onnx', nms='none', pad_value=[1., 2., 3.])
    assert get_metadata(raw).preprocess.pad_value == [1, 2, 3]
    assert get_metadata(raw).postprocess.nms == 'none'
    assert get_metadata(str(tmp_path / 'a.onnx')).postprocess.nms == 'efficient_nms'


def test_late_opset(zoo, tmp_path):
    late = tmp_path / 'late.onnx'
    model = onnx.version_converter.convert_version(onnx.load(zoo.file('detection', 'none')), 21)
    onnx.save(model, late)
    complete_onnx(str(late), str(tmp_path / 'a.onnx'), _with_nms())
    assert {item.version for item in onnx.load(tmp_path / 'a.onnx').opset_import} == {21}
    image = pixels(1, 96, 128)
    expected = run(zoo.file('detection', 'onnx'), image)
    np.testing.assert_allclose(run(str(tmp_path / 'a.onnx'), image)['dets'], expected['dets'],
                               atol=2e-3)


def _with_nms():
    description = metadata('detection')
    description.postprocess.nms = 'onnx'
    return description


@pytest.mark.long
def test_says_what_is_wrong(zoo, tmp_path):
    target = tmp_path / 'a.onnx'
    with pytest.raises(FileNotFoundError, match='no such ONNX file'):
        complete_onnx(str(tmp_path / 'no.onnx'), str(target), _with_nms())
    with pytest.raises(ValueError, match='has the outputs dets, labels; a file of a detection'):
        complete_onnx(zoo.file('detection', 'onnx'), str(target), _with_nms())
    with pytest.raises(ValueError, match='takes images of any size'):
        completed(zoo, target, dynamic='shape')
    few = _with_nms()
    few.class_names = few.class_names[:-1]
    with pytest.raises(ValueError, match=r'has \d classes, the model config names \d'):
        complete_onnx(zoo.file('detection', 'none'), str(target), few)
    assert not target.exists()
