"""8 bit as a step of an export: ``quantise_file`` and ``quantize=`` of a deploy config."""
import copy

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmyolonas.deploy.pipeline import export_checkpoint, load_model
from mmyolonas.export import export_onnx
from mmyolonas.export.onnx_graph import convolve_upsampling
from mmyolonas.quantization import (
    RangeTable,
    calibrate,
    count_pairs,
    find_groups,
    fuse_model,
    insert_qdq,
    quantise_model,
)
from mmyolonas.quantization.choice.plan import full_plan
from mmyolonas.quantization.deploying import check_settings, quantise_file
from mmyolonas.quantization.ranges.images import load_samples
from mmyolonas.utils import UserError
from tests.exported_models import spread
from tests.tiny import config, write_data


def float_form(path):
    """Return the float graph that is quantised: transposed convolutions are 1x1 ones."""
    model = onnx.load(path)
    assert convolve_upsampling(model) == 2
    return model


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """Return a config, its checkpoint and the fused model."""
    folder = tmp_path_factory.mktemp('deploying')
    cfg = Config(config(write_data(folder / 'data'), folder / 'runs'))
    cfg.test_dataloader.dataset.pipeline.insert(
        2, dict(type='Pad', size=(64, 64), pad_val=dict(img=(114, 114, 114))))
    model = spread(load_model(cfg, None))
    torch.save(dict(state_dict=model.state_dict(), meta={}), folder / 'model.pth')
    return cfg, str(folder / 'model.pth'), fuse_model(model)


@pytest.fixture
def exported(trained, tmp_path):
    path = str(tmp_path / 'model.onnx')
    export_onnx(trained[2], path, (1, 3, 64, 64), nms='none', fold_shortcuts=False, verify=False)
    return path


def test_a_file_is_quantised_as_by_hand(trained, exported):
    cfg, _, fused = trained
    init_default_scope('mmdet')  # as load_model leaves it
    plain = float_form(exported)
    table = quantise_file(exported, copy.deepcopy(fused), cfg, dict(calib_images=3), 'tensorrt')
    samples = [sample.inputs for sample in load_samples(cfg, fused, 'train', 3)]
    wanted = calibrate(quantise_model(copy.deepcopy(fused)), samples, 3)
    assert table.activations == wanted.activations and table.num_images == 3
    assert onnx.load(exported) == insert_qdq(plain, wanted, 'tensorrt')


def test_plan_and_ranges_are_taken(trained, exported, tmp_path):
    cfg, _, fused = trained
    plain = float_form(exported)
    quantised = quantise_model(copy.deepcopy(fused))
    table = calibrate(quantised, [torch.rand(1, 3, 64, 64)])
    table.save(tmp_path / 'ranges.json')
    plan = full_plan(find_groups(quantised.flow), 'onnxruntime')
    plan.groups[0].precision = plan.groups[3].precision = 'float'
    plan.save(tmp_path / 'plan.json')
    settings = dict(plan=str(tmp_path / 'plan.json'), ranges=str(tmp_path / 'ranges.json'))
    assert quantise_file(exported, fused, cfg, settings, 'onnxruntime') == table
    made = onnx.load(exported)
    assert made == insert_qdq(plain, table, 'onnxruntime', plan.selection(quantised.flow))
    assert count_pairs(made)['weights'] < count_pairs(
        insert_qdq(plain, table, 'onnxruntime'))['weights']


def test_a_setting_that_is_not_known():
    with pytest.raises(UserError, match="unknown setting 'calib_image'.*calib_images"):
        check_settings(dict(calib_image=3))
    assert check_settings(dict(calib_images=3))['calib_split'] == 'train'


def deploy_config(**quantize):
    return Config(dict(
        onnx_config=dict(save_file='end2end.onnx', input_shape=(64, 64), opset_version=17),
        codebase_config=dict(type='mmyolonas', task='ObjectDetection',
                             post_processing=dict(nms_type='onnx', score_threshold=0.01)),
        backend_config=dict(type='onnxruntime'), quantize=quantize))


def test_from_checkpoint_to_8_bit_in_one_call(trained, tmp_path):
    cfg, checkpoint, fused = trained
    report = export_checkpoint(deploy_config(calib_images=3), cfg, checkpoint, str(tmp_path))
    made = onnx.load(report.onnx)
    pairs = count_pairs(made)
    table = calibrate(quantise_model(copy.deepcopy(fused)), [
        sample.inputs for sample in load_samples(cfg, fused, 'train', 3)], 3)
    assert pairs['weights'] == len(table.weights) - 6  # all but the predictions
    scales = {round(float(onnx.numpy_helper.to_array(init).ravel()[0]), 7)
              for init in made.graph.initializer if init.name.endswith('/scale')}
    wanted = table.activations['backbone.stem.conv.rbr_reparam'] / 255
    assert any(abs(scale - wanted) < 1e-6 for scale in scales)
    image = next(load_samples(cfg, fused, 'test', 1)).inputs
    session = ort.InferenceSession(report.onnx, providers=['CPUExecutionProvider'])
    outputs = session.run(None, {'input': image.numpy()})
    assert np.isfinite(outputs[0]).all() and outputs[0].shape[-1] >= 4


def test_the_one_call_says_what_is_wrong(trained, tmp_path):
    cfg, checkpoint, _ = trained
    with pytest.raises(UserError, match='should be a plan'):
        export_checkpoint(deploy_config(plan=str(tmp_path / 'no.json')), cfg, checkpoint,
                          str(tmp_path))
    with pytest.raises(UserError, match='asked for, the train set has 6'):
        export_checkpoint(deploy_config(calib_images=99), cfg, checkpoint, str(tmp_path))
    other = RangeTable({'x': 1.}, {'x': [1.]}, 'max', 1)
    other.save(tmp_path / 'ranges.json')
    with pytest.raises(UserError, match='ranges are of another model'):
        export_checkpoint(deploy_config(ranges=str(tmp_path / 'ranges.json')), cfg, checkpoint,
                          str(tmp_path))


def test_calibration_at_another_size_is_refused(trained, tmp_path):
    cfg, checkpoint, _ = trained
    other = deploy_config(calib_images=3)
    other.onnx_config.input_shape = (128, 96)  # width, height
    with pytest.raises(UserError, match='export is 128 x 96 .*makes images of 64 x 64; set onnx_c'):
        export_checkpoint(other, cfg, checkpoint, str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_an_interrupted_call_leaves_no_float_file(trained, tmp_path, monkeypatch):
    cfg, checkpoint, _ = trained

    def stopped(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr('mmyolonas.quantization.deploying.calibrate', stopped)
    with pytest.raises(KeyboardInterrupt):
        export_checkpoint(deploy_config(calib_images=3), cfg, checkpoint, str(tmp_path))
    assert not list(tmp_path.iterdir())


def test_a_plan_says_for_which_runtime_it_is(trained, exported, tmp_path, capsys):
    cfg, _, fused = trained
    quantised = quantise_model(copy.deepcopy(fused))
    table = calibrate(quantised, [torch.rand(1, 3, 64, 64)])
    table.save(tmp_path / 'ranges.json')
    plan = full_plan(find_groups(quantised.flow), 'openvino')
    plan.save(tmp_path / 'plan.json')
    plain = float_form(exported)
    settings = dict(plan=str(tmp_path / 'plan.json'), ranges=str(tmp_path / 'ranges.json'),
                    span='equal')
    quantise_file(exported, fused, cfg, settings, 'onnxruntime')
    assert 'plan was made for openvino' in capsys.readouterr().out
    assert onnx.load(exported) == insert_qdq(plain, table, 'onnxruntime', span='equal')
