"""Tables of operator latencies: prediction, files, measuring, attribution."""
import json
import os
import sys
import warnings

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope

from mmyolonas.registry import MODELS
from mmyolonas.runtime.kernels import Kernel
from mmyolonas.runtime.machine import describe_machine
from mmyolonas.search.latency import operator_measurement, operator_timing
from mmyolonas.search.latency.operator_graph import GraphOperators, read_graph
from mmyolonas.search.latency.operator_measurement import measure_table
from mmyolonas.search.latency.operator_table import OperatorTable, accuracy
from mmyolonas.search.latency.operator_timing import (
    NetworkFile,
    attribute,
    check_target,
    export_network,
    time_network,
)
from mmyolonas.search.latency.operators import Operator, boundary_operators, operators
from mmyolonas.search.space.architecture import build
from mmyolonas.search.space.space import Space
from mmyolonas.utils import UserError
from tests import tiny


# ------------------------------------------------------------- an invented machine
def invented_ms(operator: Operator, precision: str) -> float:
    """Return a time: work at a rate that depends on the shape, reading, a call."""
    if operator.kind in ('quantise', 'dequantise'):
        return 0.002 + operator.values / 4e6
    rate = 60e6 * (0.6 + 0.1 * np.tanh(np.log2(operator.in_channels / 64)) +
                   0.1 * np.sin(np.log2(operator.out_channels)))
    if precision == 'int8' and not operator.prediction:
        rate *= 3
    fill = -(-operator.out_channels // 16) * 16 / operator.out_channels
    return operator.macs * fill / rate + (operator.input_values + operator.values) / 2e7 + 0.004


def invented_table(networks: list, precisions=('fp32', 'int8'), noise: float = 0.02):
    """Return a table of networks and a function from network to true latency."""
    rng = np.random.default_rng(0)
    table = OperatorTable('onnxruntime', describe_machine('onnxruntime'))

    def truth(network, precision):
        full = [*network, *boundary_operators(network)] if precision == 'int8' else network
        return 1.05 * sum(invented_ms(op, precision) for op in full) + 0.2, full

    for index, network in enumerate(networks):
        for precision in precisions:
            total, full = truth(network, precision)
            times = [(op, invented_ms(op, precision) * rng.lognormal(0, noise)) for op in full]
            table.add(f'n{index}', (64, 64), precision, total, total, times)
    return table, lambda network, precision: truth(network, precision)[0]


@pytest.fixture(autouse=True)
def quick_fits(monkeypatch):
    """Length scales from fewer samples."""
    monkeypatch.setattr('mmyolonas.search.latency.operator_model._MAX_FITTED', 150)


@pytest.fixture(scope='module')
def networks():
    """Operators of 28 random architectures."""
    space, rng = Space('detection', [128]), np.random.default_rng(5)
    with torch.device('meta'):
        return [operators(build(space.sample(rng)), 128) for _ in range(28)]


@pytest.mark.parametrize('precision', ['fp32', 'int8'])
def test_other_networks_are_predicted(networks, precision):
    table, truth = invented_table(networks[:20], [precision])
    others = networks[20:]
    expected = [truth(network, precision) for network in others]
    found = accuracy(table.predict_many(others, precision), expected)
    assert found.error < 0.03 and found.spearman > 0.97
    assert abs(found.bias) < 0.02
    # the table's own estimate of that, from networks left out
    inner = table.accuracy(precision)
    assert inner.networks == 20 and 0 < inner.error < 0.05
    # multiplications alone are a worse guide
    macs = np.array([sum(op.macs for op in network) for network in others])
    assert accuracy(macs / macs.mean() * np.mean(expected), expected).error > 2 * found.error


def test_measured_operators_count_as_measured(networks):
    table, _ = invented_table(networks[:12], noise=0)
    operator = networks[0][5]
    for precision in ('fp32', 'int8'):
        assert table.operator_ms(operator, precision) == pytest.approx(
            invented_ms(operator, precision), abs=1e-5)
    one = table.predict(networks[0], 'fp32')
    assert one == pytest.approx(table.predict_many(networks[:2], 'fp32')[0])
    assert table.predict(networks[0], 'int8') < one


def test_kinds_without_a_time_are_said(networks):
    table, _ = invented_table([[op for op in networks[0] if op.kind != 'concat']], ['fp32'])
    with pytest.warns(UserWarning, match='no times of concat; they count as nothing'):
        table.predict(networks[1])


def test_switching_is_part_of_int8(networks):
    table, _ = invented_table(networks[:12])
    costly = [op for op in table.operators if op.kind in ('quantise', 'dequantise')]
    assert costly
    before = table.predict(networks[0], 'int8'), table.predict(networks[0], 'fp32')
    for record in table.networks:
        record.times = [(place, ms + (5 if table.operators[place] in costly else 0))
                        for place, ms in record.times]
        record.median += 5 * sum(table.operators[place] in costly for place, _ in record.times)
    table._fits.clear()
    boundaries = len(boundary_operators(networks[0]))
    assert table.predict(networks[0], 'int8') - before[0] == pytest.approx(5 * boundaries, rel=0.1)
    assert table.predict(networks[0], 'fp32') == pytest.approx(before[1])


# ------------------------------------------------------------------------- files
def test_a_file_predicts_what_its_table_did(networks, tmp_path):
    table, _ = invented_table(networks[:12])
    path = tmp_path / 'tables' / 'operators.json'
    table.save(path)
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        again = OperatorTable.load(path)
    for precision in ('fp32', 'int8'):
        np.testing.assert_allclose(again.predict_many(networks[12:20], precision),
                                   table.predict_many(networks[12:20], precision), rtol=1e-6)
        assert again.accuracy(precision) == table.accuracy(precision)
    assert again.machine['cpu'] and again.machine['date'] and again.target == 'onnxruntime'


def test_a_table_from_elsewhere_is_used_with_a_warning(networks, tmp_path):
    table, _ = invented_table(networks[:3], ['fp32'])
    table.machine.update(cpu='Another processor', runtime_version='0.1')
    path = tmp_path / 'operators.json'
    table.save(path)
    with pytest.warns(UserWarning) as caught:
        assert OperatorTable.load(path).predict(networks[0]) > 0
    message, = {str(warning.message) for warning in caught}
    assert 'cpu Another processor (here ' in message and 'runtime_version 0.1' in message
    assert '\n' not in message and 'num_threads' not in message
    with pytest.warns(UserWarning, match=r'num_threads 1 \(here 2\)'):
        OperatorTable.load(path, num_threads=2)


def test_what_is_no_table_is_said(networks, tmp_path):
    path = tmp_path / 'operators.json'
    for text in ('', '[]', '{"format": "mmyolonas-ranges/1"}', 'PK\x03',
                 '{"format": "mmyolonas-operators/1"}'):
        path.write_text(text)
        with pytest.raises(UserError, match='not? a? ?table of operator latencies'):
            OperatorTable.load(path)
    with pytest.raises(UserError, match='No such file|does not exist'):
        OperatorTable.load(tmp_path / 'nowhere.json')
    table, _ = invented_table(networks[:3], ['fp32'])
    with pytest.raises(UserError, match='measured in fp32, not in int8'):
        table.predict(networks[0], 'int8')


# ------------------------------------------------------------------------ targets
def test_targets_that_cannot_be_measured_are_said(monkeypatch):
    with pytest.raises(UserError, match="unknown target 'coreml'; choose one of onnxruntime"):
        check_target('coreml')
    with pytest.raises(UserError, match='not measured in fp16; choose from fp32, int8'):
        check_target('onnxruntime', ['fp16'])
    monkeypatch.setitem(sys.modules, 'openvino', None)
    with pytest.raises(UserError, match='pip install openvino'):
        check_target('openvino', ['int8'])
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    with pytest.raises(UserError, match='measuring tensorrt needs'):
        check_target('tensorrt')

    def absent(flavour):
        raise ImportError(flavour)

    monkeypatch.setattr('mmyolonas.runtime.tensorrt_api.TensorRTApi', absent)
    with pytest.raises(UserError, match='pip install tensorrt-rtx-cu12'):
        check_target('tensorrt_rtx')


@pytest.mark.parametrize('flavour', ['tensorrt', 'tensorrt_rtx'])
def test_tensorrt_needs_a_gpu(monkeypatch, flavour):
    asked = []
    monkeypatch.setattr('mmyolonas.runtime.tensorrt_api.TensorRTApi', asked.append)

    def no_gpu(*_):
        raise RuntimeError('no GPU was found.')

    monkeypatch.setattr('mmyolonas.runtime.cuda.Cuda', no_gpu)
    with pytest.raises(UserError, match='cannot be measured here: no GPU was found'):
        check_target(flavour, ['fp16', 'int8'])
    assert asked == [flavour]


# ---------------------------------------------------------------------- measuring
def small_model(width: int = 8):
    init_default_scope('mmdet')
    torch.manual_seed(0)
    config = tiny.model_config()
    config['backbone']['arch']['stages'][0]['hidden_channels'] = width
    return MODELS.build(config)


@pytest.fixture(scope='module')
def small_file():
    return export_network(small_model(), 64)


@pytest.mark.parametrize('runtime', ['onnxruntime', 'openvino'])
@pytest.mark.parametrize('precision', ['fp32', 'int8'])
def test_every_kernel_is_somebodys(small_file, runtime, precision):
    pytest.importorskip(runtime)
    with NetworkFile(small_file, runtime, precision) as file:
        found, rest = file.operator_times(repeats=3)
        kernels = file.kernels(repeats=3)
        expected = len(file.graph.operators)
    boundaries = boundary_operators(file.graph.operators) if precision == 'int8' else []
    assert [op for op, _ in found[expected:]] == boundaries
    assert rest < 0.05 * sum(ms for _, ms in found)
    assert not os.path.exists(file.path) and kernels
    # convolutions are not fused away
    assert all(ms > 0 for op, ms in found if op.kind == 'conv')
    if precision == 'int8' and runtime == 'onnxruntime':
        assert found[expected][1] > 0  # the image becomes 8 bit
        assert any('Q' in kernel.kind for kernel in kernels)


def test_kernels_are_attributed_by_name_and_by_neighbour():
    first, second = Operator('conv', 3, 8, 8, 8, 3), Operator('conv', 8, 8, 8, 8, prediction=True)
    graph = GraphOperators([first, Operator('add', 8, 8, 8, 8), second],
                           {'stem/Conv': 0, 'stem': 0, 'sum/Add': 1, 'sum': 1, 'head/Conv': 2})
    kernels = [
        Kernel('input/QuantizeLinear', 1., 'QuantizeLinear', ['input/QuantizeLinear']),
        Kernel('stem/Conv_nchwc', 2., 'Conv', ['stem/Conv_nchwc'], ['input/QuantizeLinear']),
        Kernel('ReorderOutput_token_3', 4., 'ReorderOutput', [], ['stem/Conv_nchwc']),
        Kernel('sum/Add_quant', 8., 'QLinearAdd', ['sum/Add_quant'], ['ReorderOutput_token_3']),
        Kernel('sum/dequantised/DequantizeLinear', 16., 'DequantizeLinear', [],
               ['sum/Add_quant']),
        Kernel('reorder', 32., 'ReorderInput', [], ['sum/dequantised/DequantizeLinear']),
        Kernel('head/Conv', 64., 'Conv', ['head/Conv'], ['reorder']),
        Kernel('stranger', 128., 'Other')]
    times, rest = attribute(kernels, graph, is_int8=True)
    assert times == {3: 1., 0: 6., 1: 40., 4: 16., 2: 64.} and rest == 128.
    fused = [Kernel('a', 1., 'Convolution', ['sum', 'stem/Conv'])]
    assert attribute(fused, graph)[0] == {0: 1.}


def test_layers_of_an_engine_are_attributed(small_file, monkeypatch):
    graph = read_graph(small_file)
    convs = [node.name for node in small_file.graph.node if node.op_type == 'Conv']
    decoding = [name for name, place in graph.owners.items()
                if graph.operators[place].kind == 'decode']

    class Engine:
        """Stands for a session on a GPU."""

        def __call__(self, image):
            return [image]

        def layer_times(self, feed, repeats):
            first, second, *others = convs
            return [(f'{first} + {first}/Relu', 1.),
                    (f'Reformatting CopyNode for Input Tensor 0 to {second}', 2.),
                    (second, 4.), *((name, 8.) for name in others),
                    (f'{{ForeignNode[{decoding[0]}...{decoding[-1]}]}}', 16.)]

        def close(self):
            pass

    precisions = []
    monkeypatch.setattr(operator_timing, '_open_tensorrt',
                        lambda path, *asked: precisions.append(asked) or Engine())
    times = time_network(small_file, 'tensorrt', ['fp16', 'int8'], repeats=2)
    assert precisions == [('fp16', 'tensorrt'), ('int8', 'tensorrt')]
    assert times['fp16'].total.best > 0
    for found in times.values():
        convolutions = [ms for op, ms in found.operators if op.kind == 'conv']
        assert convolutions == [1., 6., *[8.] * (len(convs) - 2)]
        assert sum(ms for op, ms in found.operators if op.kind == 'decode') == 16.
        assert found.rest == 0


@pytest.mark.long
def test_a_stopped_measurement_goes_on(tmp_path, monkeypatch):
    pytest.importorskip('onnxruntime')
    path = tmp_path / 'operators.json'
    built = []

    def maker(name, width):
        def make():
            if name == stop:
                raise KeyboardInterrupt
            built.append(name)
            return small_model(width)
        return name, make

    models = [maker('a', 8), maker('b', 16), maker('c', 24)]
    options = dict(precisions=['fp32', 'int8'], input_size=64, path=path, repeats=3)
    stop = 'c'
    with pytest.raises(KeyboardInterrupt):
        measure_table(models, **options)
    assert built == ['a', 'b'] and not path.exists()
    journal = tmp_path / 'operators.json.journal'
    with open(journal, 'ab') as file:
        file.write(b'{"name": "c", "input_si')  # what kill -9 leaves
    stop = ''
    table = measure_table(models, **options)
    assert built == ['a', 'b', 'c'] and not journal.exists()
    assert [(r.name, r.precision) for r in table.networks] == [
        (name, precision) for name in 'abc' for precision in ('fp32', 'int8')]
    # a complete table is extended, not measured again
    again = measure_table([*models, ('d', small_model(32), 96)], **options)
    assert built == ['a', 'b', 'c'] and len(again.networks) == 8
    assert again.networks[-1].input_size == [96, 96]
    loaded = OperatorTable.load(path)
    network = operators(small_model(16), 64)
    for precision in ('fp32', 'int8'):
        measured = [r.median for r in loaded.networks if r.precision == precision]
        assert 0.3 * min(measured) < loaded.predict(network, precision) < 3 * max(measured)
    data = json.loads(path.read_text())
    assert data['target'] == 'onnxruntime' and data['machine']['num_threads'] == 1


def test_a_table_from_elsewhere_is_not_extended(networks, tmp_path, monkeypatch):
    table, _ = invented_table(networks[:2], ['fp32'])
    path = tmp_path / 'operators.json'
    table.save(path)
    with pytest.raises(UserError, match='another num_threads; give another file'):
        measure_table([], path=path, num_threads=2)
    here = describe_machine('onnxruntime')
    monkeypatch.setattr(operator_measurement, 'describe_machine',
                        lambda *_: {**here, 'cpu': 'Another processor'})
    with pytest.raises(UserError, match='measured with another cpu'):
        measure_table([], path=path)
