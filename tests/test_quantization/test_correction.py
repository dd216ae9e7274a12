"""Equalisation and bias correction."""
import copy
import importlib.util
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from mmyolonas.quantization import calibrate, insert_qdq, quantise_model
from mmyolonas.quantization.graph.dataflow import analyse
from mmyolonas.quantization.graph.trace import trace
from mmyolonas.quantization.ranges.correction import _pairs, bias_corrections, equalise
from tests.conftest import ROOT

from .conftest import SIZE, images
from .test_qdq import run


def outputs(model, image):
    with torch.no_grad():
        return model.bbox_head.decode(model.extract_feat(image))


def uneven(fused):
    """Return a copy that computes the same with channels of very different size."""
    model = copy.deepcopy(fused)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for maker, readers in _pairs(model, analyse(trace(model))).items():
            first = model.get_submodule(maker)
            factors = torch.exp(1.5 * torch.randn(first.out_channels, generator=generator))
            first.weight *= factors[:, None, None, None]
            first.bias *= factors
            for reader in readers:
                model.get_submodule(reader).weight /= factors[None, :, None, None]
    return model


def test_equalisation_keeps_the_function_and_takes_the_noise(fused):
    hard = uneven(fused)
    image = images(4)[3]
    plain = outputs(fused, image)
    noise = []
    for balanced in (False, True):
        if balanced:
            assert equalise(hard, images(4)) > 10
        for want, got in zip(plain, outputs(hard, image)):
            torch.testing.assert_close(got, want, atol=2e-3, rtol=1e-3)
        quantised = quantise_model(copy.deepcopy(hard))
        calibrate(quantised, images(4))
        noise.append((outputs(quantised.model, image)[0] - plain[0]).square().mean().item())
    assert noise[1] < 0.5 * noise[0]


def test_what_is_read_elsewhere_too_is_left_alone(fused):
    """Shortcuts, concatenations and what other steps read have no factor to give."""
    flow = analyse(trace(fused))
    pairs = _pairs(fused, flow)
    joined = {name for names in flow.classes().values() if len(names) > 1 for name in names}
    added = {name for add in flow.additions for name in (add.shortcut, add.branch)}
    assert not pairs.keys() & (joined | added)
    assert all(not flow.is_prediction(maker) for maker in pairs)


def test_bias_correction_keeps_the_mean(fused, float_onnx):
    """With coarse weights the mean output of a layer is off, and not once it is corrected."""
    quantised = quantise_model(copy.deepcopy(fused))
    table = calibrate(quantised, images(4))
    layer = 'backbone.stage1.blocks.conv1.conv'
    module, quantizer = quantised.model.get_submodule(layer), quantised.weights[layer]
    weight, old = module._parameters['weight'], module.bias.detach().clone()
    found = bias_corrections(quantised, images(4))
    seen = []
    hook = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    with quantised.disabled():
        for image in images(4):
            outputs(quantised.model, image)
    hook.remove()
    steps = quantizer.amax / 127
    error = (weight / steps).round() * steps - weight
    wrong = sum(torch.nn.functional.conv2d(x, error).mean((0, 2, 3)) for x in seen) / len(seen)
    np.testing.assert_allclose(found[layer], -wrong.detach(), atol=1e-5)
    # applied where the layer is 8 bit and not where it is float, in PyTorch and in files
    table.corrections = found
    quantised.load(table)
    np.testing.assert_allclose((module.bias - old).detach(), found[layer], atol=1e-6)
    with quantised.disabled():
        np.testing.assert_allclose(module.bias.detach(), old, atol=1e-6)
    image = images(4)[1]
    got = run(insert_qdq(float_onnx, table, 'tensorrt'), image, optimise=False)
    want = outputs(quantised.model, image)
    assert np.abs(got[0] - want[0].numpy()).max() < 1e-3
    table.corrections = {layer: [0.]}
    with pytest.raises(Exception, match='corrections of biases are of another model'):
        insert_qdq(float_onnx, table, 'tensorrt')


def test_equalised_ranges_are_used_with_the_images_they_are_of(fused, tmp_path):
    """--ranges balances by as many images again; others give other factors."""
    spec = importlib.util.spec_from_file_location('quantize_tool', ROOT / 'tools' / 'quantize.py')
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    asked = []
    tool.calibration_images = lambda *args: asked.append(args[-1]) or images(args[-1])
    args = SimpleNamespace(ranges=None, correction='equalisation', calib_images=2,
                           calib_method='max')
    made, again = copy.deepcopy(fused), copy.deepcopy(fused)
    tool.find_ranges(args, None, None, made, (SIZE, SIZE)).save(tmp_path / 'ranges.json')
    args.ranges, args.calib_images = str(tmp_path / 'ranges.json'), 4
    tool.find_ranges(args, None, None, again, (SIZE, SIZE))
    assert asked == [2, 2]
    for one, two in zip(made.parameters(), again.parameters()):
        assert torch.equal(one, two)
