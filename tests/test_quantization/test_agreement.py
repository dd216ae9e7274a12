"""A written 8-bit file is compared with the fake-quantised network, as its runtime runs it."""
import copy
import json
from dataclasses import replace
from pathlib import Path

import onnx
import pytest

from mmyolonas.quantization import default_layers, insert_qdq, select
from mmyolonas.quantization.agreement import LIMIT, FakeQuantised
from mmyolonas.quantization.graph import spelling
from mmyolonas.quantization.workflow import Workflow

from .conftest import images


@pytest.fixture(scope='module')
def references(fused, calibrated):
    """By whether a tensor that cannot be negative has 255 steps."""
    pictures = [image.numpy() for image in images(3, seed=1)]
    return {full: FakeQuantised(fused, calibrated[1], pictures, full) for full in (False, True)}


@pytest.fixture
def reference(references):
    return references[True]


@pytest.mark.parametrize('runtime', ('onnxruntime', 'openvino', 'tensorrt'))
def test_correct_files_agree(references, calibrated, float_onnx, runtime, tmp_path):
    if runtime == 'openvino':
        pytest.importorskip('openvino')
    reference = references[runtime != 'tensorrt']
    path = tmp_path / 'int8.onnx'
    onnx.save(insert_qdq(float_onnx, calibrated[1], runtime), path)
    found = reference.compare(str(path), runtime, num_threads=1)
    assert found.agrees and 0 < found.ratio < 1, found
    assert found.noise_boxes > 0 and 'the same network' in found.text('x')
    assert ('without optimisation' in found.runner) == (runtime == 'tensorrt')


def test_wrong_files_are_found(reference, calibrated, float_onnx, tmp_path):
    """The float network in 8-bit clothes, ranges of another model, and a file of NaN."""
    path = tmp_path / 'int8.onnx'
    table = copy.deepcopy(calibrated[1])
    for name in table.activations:
        table.activations[name] *= 0.7
    onnx.save(insert_qdq(float_onnx, table, 'onnxruntime'), path)
    found = reference.compare(str(path), 'onnxruntime')
    assert not found.agrees and found.ratio > LIMIT
    assert 'NOT THE QUANTISED NETWORK' in found.text('x')
    assert not replace(found, boxes=float('nan')).agrees
    assert not replace(found, boxes=0., scores=float('nan')).agrees


def test_openvino_that_computes_wrongly_is_found(references, calibrated, float_onnx, tmp_path,
                                                 monkeypatch):
    """Signed pairs, on the processors where they are wrong."""
    openvino = pytest.importorskip('openvino')
    if 'AMX' in str(openvino.Core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')) or any(
            flag in Path('/proc/cpuinfo').read_text() for flag in ('amx_int8', )):
        pytest.skip('processors with AMX compute signed pairs correctly')
    monkeypatch.setitem(spelling.SPELLINGS, 'openvino', spelling.Spelling())
    path = tmp_path / 'signed.onnx'
    onnx.save(insert_qdq(float_onnx, calibrated[1], 'openvino'), path)
    assert not references[False].compare(str(path), 'openvino', num_threads=1).agrees


def test_part_of_the_layers(reference, calibrated, float_onnx, tmp_path):
    """A plan's file is compared with the network that has the plan's layers in 8 bit."""
    flow, path = reference.quantised.flow, tmp_path / 'part.onnx'
    layers = [name for name in default_layers(flow) if name.startswith('backbone')]
    selection = select(flow, layers)
    onnx.save(insert_qdq(float_onnx, calibrated[1], 'onnxruntime', selection), path)
    assert reference.compare(str(path), 'onnxruntime', selection).ratio < 1
    full = reference.compare(str(path), 'onnxruntime', select(flow, default_layers(flow)))
    assert full.boxes > 0.2 * full.noise_boxes


def test_the_workflow_reports_it(reference, calibrated, float_onnx, tmp_path, capsys):
    onnx.save(float_onnx, tmp_path / 'float.onnx')
    flow = Workflow(str(tmp_path / 'float.onnx'), calibrated[1], 'onnxruntime', str(tmp_path),
                    num_threads=1, reference=reference)
    flow.full()
    assert f'{tmp_path / "int8.onnx"} in onnxruntime' in capsys.readouterr().out
    flow.report.save(tmp_path / 'report.json')
    saved = json.loads((tmp_path / 'report.json').read_text())['agreement']
    assert list(saved) == ['int8'] and 0 < saved['int8']['boxes'] < saved['int8']['noise_boxes']
