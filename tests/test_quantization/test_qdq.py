"""Where Q/DQ stand in the exported graph, and that every spelling is the same numbers."""
import copy

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from mmyolonas.export.onnx_graph import OnnxGraph, convolve_upsampling
from mmyolonas.quantization import (
    RangeTable,
    default_layers,
    fuse_model,
    insert_qdq,
    quantise_model,
    select,
)
from mmyolonas.quantization.graph.qdq import QdqWriter, quantise_weight
from mmyolonas.quantization.graph.spelling import spelling_of
from mmyolonas.utils import UserError

from .conftest import SIZE, build_tiny, images

RUNTIMES = ('tensorrt', 'openvino', 'onnxruntime')


def run(model, image, optimise=True):
    options = ort.SessionOptions()
    options.log_severity_level = 3
    if not optimise:  # every operator as ONNX defines it
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = ort.InferenceSession(
        model.SerializeToString(), options, providers=['CPUExecutionProvider'])
    return session.run(None, {session.get_inputs()[0].name: image.numpy()})


def fused_nodes(model, tmp_path):
    """Return the operators that ONNX Runtime makes of a graph."""
    options = ort.SessionOptions()
    options.log_severity_level = 3
    options.optimized_model_filepath = str(tmp_path / 'optimised.onnx')
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    ort.InferenceSession(model.SerializeToString(), options, providers=['CPUExecutionProvider'])
    return [node.op_type for node in onnx.load(options.optimized_model_filepath).graph.node]


@pytest.mark.parametrize('runtime', RUNTIMES)
def test_rules(calibrated, float_onnx, runtime):
    _, table = calibrated
    model = insert_qdq(float_onnx, table, runtime)
    graph = OnnxGraph(model)
    consumers = {}
    for node in model.graph.node:
        for name in node.input:
            consumers.setdefault(name, []).append(node)

    def dequantised(name):
        return graph.producers.get(name, onnx.NodeProto()).op_type == 'DequantizeLinear'

    seen = dict(weighted=0, prediction=0, Add=0, Concat=0, MaxPool=0)
    for node in model.graph.node:
        if node.op_type in ('Conv', 'ConvTranspose'):
            weight = node.input[1]
            if '_pred.' in weight:
                assert not dequantised(weight)
                assert not dequantised(node.output[0])
                seen['prediction'] += 1
                continue
            seen['weighted'] += 1
            assert dequantised(node.input[0]) and dequantised(weight)
            assert graph.constants[node.input[2]].data_type == onnx.TensorProto.FLOAT  # bias
            self_dq = graph.producers[weight]
            axis = onnx.helper.get_attribute_value(self_dq.attribute[0])
            assert axis == (1 if node.op_type == 'ConvTranspose' else 0)
            integers, scales, zeros = map(graph.constant, self_dq.input)
            assert integers.dtype == np.int8 and len(scales) == integers.shape[axis]
            assert not zeros.any() and scales.min() > 0
            assert np.abs(integers.astype(int)).max() <= 127
        elif node.op_type in ('Add', 'Concat', 'MaxPool') and any(map(dequantised, node.input)):
            seen[node.op_type] += 1
            assert all(map(dequantised, node.input))
            if node.op_type != 'Add':  # one step on both sides: nothing is rounded again
                steps = {graph.constant(graph.producers[name].input[1]).item()
                         for name in node.input}
                after = [n for n in consumers[node.output[0]] if n.op_type == 'QuantizeLinear']
                steps.update(graph.constant(n.input[1]).item() for n in after)
                assert len(steps) == 1 and len(after) == 1
        elif node.op_type == 'QuantizeLinear':
            assert not dequantised(node.input[0]), 'dequantised and quantised again'
            readers = [n for n in consumers[node.input[0]] if n.op_type == 'QuantizeLinear']
            assert len(readers) == 1, 'one pair per tensor'
            assert node.input[0] not in graph.constants
    assert seen == dict(weighted=len(table.weights) - 6, prediction=6, Add=9, Concat=13, MaxPool=3)
    assert not [n for n in model.graph.node if n.op_type == 'Mul' and dequantised(n.input[0])
                and n.input[1] in graph.constants], 'a shortcut scale left as a product'
    outputs = {output.name for output in model.graph.output}
    assert not any(dequantised(name) for name in outputs)


def test_spelling_of_the_types(calibrated, float_onnx):
    _, table = calibrated
    signed = OnnxGraph(insert_qdq(float_onnx, table, 'tensorrt'))
    for node in signed.graph.node:
        if node.op_type == 'QuantizeLinear':
            zero = signed.constant(node.input[2])
            assert zero.dtype == np.int8 and zero == 0
    unsigned = OnnxGraph(insert_qdq(float_onnx, table, 'onnxruntime'))
    zeros = {}
    for node in unsigned.graph.node:
        if node.op_type == 'QuantizeLinear':
            zeros[node.input[0]] = unsigned.constant(node.input[2])
            assert zeros[node.input[0]].dtype == np.uint8
    after_relu = [v for k, v in zeros.items() if unsigned.producers.get(k, node).op_type == 'Relu']
    assert after_relu and not np.any(after_relu)
    transposed = [v for k, v in zeros.items()
                  if k in unsigned.producers and unsigned.producers[k].op_type == 'ConvTranspose']
    assert len(transposed) == 2 and np.all(np.array(transposed) == 128)


def test_spellings_mean_the_same_numbers(calibrated, float_onnx):
    table = copy.deepcopy(calibrated[1])
    for name in table.activations:
        if not name.endswith('.input'):
            table.activations[name] *= 0.4  # so that tensors saturate
    models = [insert_qdq(float_onnx, table, runtime, span='equal') for runtime in RUNTIMES]
    image = images(4)[3]
    results = [run(model, image, optimise=False) for model in models]
    plain = run(float_onnx, image)
    for others in results[1:]:
        for first, other in zip(results[0], others):
            np.testing.assert_array_equal(first, other)
    assert np.abs(results[0][0] - plain[0]).max() > 1e-3
    with pytest.raises(UserError, match="full, equal, got 'wide'"):
        insert_qdq(float_onnx, table, 'onnxruntime', span='wide')


@pytest.fixture
def spanned(calibrated):
    """Let the fake-quantised model have the steps of a span; back to 127 behind the test."""
    quantised, table = calibrated
    yield lambda span: quantised.set_span(span == 'full', table.nonnegative)
    quantised.set_span(False)


def test_full_span_is_finer(calibrated, float_onnx, spanned):
    """255 steps behind a ReLU: less noise, no Clip, and half of the step."""
    quantised, table = calibrated
    assert table.nonnegative == ['backbone.stem.conv.rbr_reparam.input']
    image = images(4)[3]
    equal, full = (insert_qdq(float_onnx, table, 'onnxruntime', span=span)
                   for span in ('equal', 'full'))
    assert any(node.op_type == 'Clip' and '/Saturate' in node.name for node in equal.graph.node)
    assert not any('/Saturate' in node.name for node in full.graph.node)
    plain = run(float_onnx, image)
    noise = [np.square(run(model, image, False)[0] - plain[0]).mean() for model in (equal, full)]
    assert noise[1] < 0.7 * noise[0]
    steps = []
    for model in (equal, full):
        graph = OnnxGraph(model)
        steps.append({node.input[0]: (graph.constant(node.input[1]).item(),
                                      graph.constant(node.input[2]).item())
                      for node in model.graph.node if node.op_type == 'QuantizeLinear'})
    ratios = {name: steps[0][name][0] / step for name, (step, _) in steps[1].items()}
    finer = [name for name, ratio in ratios.items() if ratio > 1.5]
    assert ratios[finer[0]] == pytest.approx(255 / 127)
    assert all(steps[1][name][1] == 0 for name in finer) and 'input' in finer
    classes = {quantised.flow.tensor_class(name) for name in quantised.flow.names.values()}
    # what holds an upsampled map (no ReLU behind it) keeps 127 steps for all it holds
    assert not quantised.flow.is_nonnegative(
        quantised.flow.tensor_class('neck.neck1.upsample'))
    assert sum(map(quantised.flow.is_nonnegative, classes)) > 20


@pytest.mark.parametrize('span', ['full', 'equal'])
def test_torch_and_onnxruntime_agree(calibrated, float_onnx, spanned, span):
    quantised, table = calibrated
    spanned(span)
    image = images(4)[1]
    with torch.no_grad():
        boxes, scores = quantised.model.bbox_head.decode(quantised.model.extract_feat(image))
        with quantised.disabled():
            plain, _ = quantised.model.bbox_head.decode(quantised.model.extract_feat(image))
    error = (boxes - plain).abs().mean().item()
    assert error > 1e-3
    got = run(insert_qdq(float_onnx, table, 'onnxruntime', span=span), image, optimise=False)
    assert np.abs(got[0] - boxes.numpy()).mean() < 0.3 * error
    got = run(insert_qdq(float_onnx, table, 'onnxruntime', span=span), image)
    # integer kernels round ties and sums in another way, so single steps differ
    assert np.abs(got[0] - boxes.numpy()).mean() < error
    assert np.abs(got[0] - boxes.numpy()).max() < 0.5
    np.testing.assert_allclose(got[1], scores.numpy(), atol=2e-3)


def test_onnxruntime_computes_in_integers(calibrated, float_onnx, tmp_path):
    _, table = calibrated
    nodes = fused_nodes(insert_qdq(float_onnx, table, 'onnxruntime'), tmp_path)
    assert nodes.count('QLinearConv') == len(table.weights) - 6 - 2  # no integer ConvTranspose
    assert nodes.count('QLinearAdd') == 9
    assert nodes.count('Conv') == 6
    assert nodes.count('QuantizeLinear') == 3  # the image and two transposed convolutions
    assert 'Relu' not in nodes


def test_upsampling_as_convolution(calibrated, float_onnx, tmp_path):
    """1x1 convolution and DepthToSpace: the same numbers, and integer kernels throughout."""
    _, table = calibrated
    model = copy.deepcopy(float_onnx)
    assert convolve_upsampling(model) == 2
    assert not [n for n in model.graph.node if n.op_type == 'ConvTranspose']
    shapes = {info.name: [side.dim_value for side in info.type.tensor_type.shape.dim]
              for info in onnx.shape_inference.infer_shapes(model).graph.value_info}
    pixels = [node.input[0] for node in model.graph.node if node.op_type == 'DepthToSpace']
    assert [shapes[name][1] for name in pixels] == [64, 64]
    image = images(4)[3]
    for before, after in ((float_onnx, model), (insert_qdq(float_onnx, table, 'onnxruntime'),
                                                insert_qdq(model, table, 'onnxruntime'))):
        for want, got in zip(run(before, image, False), run(after, image, False)):
            np.testing.assert_allclose(got, want, atol=1e-4)
    nodes = fused_nodes(insert_qdq(model, table, 'onnxruntime'), tmp_path)
    assert nodes.count('QLinearConv') == len(table.weights) - 6
    assert nodes.count('QuantizeLinear') == 1  # the image
    # one that is something else stays
    other = copy.deepcopy(float_onnx)
    for node in other.graph.node:
        if node.op_type == 'ConvTranspose':
            node.attribute.append(onnx.helper.make_attribute('output_padding', [1, 1]))
    assert convolve_upsampling(other) == 0


def test_partial_selection(calibrated, float_onnx):
    quantised, table = calibrated
    layers = [name for name in default_layers(quantised.flow) if name.startswith('backbone.stage2')]
    selection = select(quantised.flow, layers)
    model = insert_qdq(float_onnx, table, 'tensorrt', selection)
    weights = [n for n in model.graph.node
               if n.op_type == 'DequantizeLinear' and n.input[0].endswith('.weight/quantised')]
    assert len(weights) == len(layers)
    image = images(4)[2]
    got = run(model, image, optimise=False)[0]
    quantised.apply(selection)
    with torch.no_grad():
        want, _ = quantised.model.bbox_head.decode(quantised.model.extract_feat(image))
    quantised.apply(select(quantised.flow, default_layers(quantised.flow)))
    np.testing.assert_allclose(got, want.numpy(), atol=0.05)


def test_predictions_can_be_asked_for(calibrated, float_onnx):
    quantised, table = calibrated
    model = insert_qdq(float_onnx, table, 'tensorrt', select(quantised.flow, table.weights))
    weights = [n for n in model.graph.node
               if n.op_type == 'DequantizeLinear' and n.input[0].endswith('.weight/quantised')]
    assert len(weights) == len(table.weights)


def test_dead_channel():
    weight = np.zeros((2, 3, 1, 1), np.float32)
    weight[1] = 0.5
    integers, scales = quantise_weight(weight, np.array([0, 0.5]), 0)
    assert scales.min() > 0 and not integers[0].any() and (integers[1] == 127).all()


def test_tensorrt_rtx_builds(calibrated, float_onnx):
    trt = pytest.importorskip('tensorrt_rtx')
    _, table = calibrated
    logger = trt.Logger(trt.Logger.ERROR)
    builder = trt.Builder(logger)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, logger)
    data = insert_qdq(float_onnx, table, 'tensorrt_rtx').SerializeToString()
    assert parser.parse(data), [parser.get_error(i).desc() for i in range(parser.num_errors)]
    assert builder.build_serialized_network(network, builder.create_builder_config()) is not None


def run_openvino(model, image, path):
    """Return the outputs of a graph as OpenVINO runs it for users: optimised."""
    openvino = pytest.importorskip('openvino')
    onnx.save(model, path)
    compiled = openvino.Core().compile_model(
        str(path), 'CPU', {'INFERENCE_PRECISION_HINT': 'f32', 'INFERENCE_NUM_THREADS': 1})
    results = compiled(image.numpy())
    return [results[index] for index in range(len(compiled.outputs))]


def two_branches(channels=16, size=16):
    """Return Concat of a ReLU and a plain convolution, read by a convolution; and its ranges."""
    rng = np.random.default_rng(0)
    shapes = dict(left=(channels, 3, 3, 3), right=(channels, 3, 3, 3),
                  last=(8, 2 * channels, 3, 3))
    weights = {name: (rng.normal(size=shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
               for name, shape in shapes.items()}
    made = onnx.helper.make_node
    pads = dict(pads=[1, 1, 1, 1])
    nodes = [made('Conv', ['x', 'left.weight'], ['left'], **pads), made('Relu', ['left'], ['a']),
             made('Conv', ['x', 'right.weight'], ['b'], **pads),
             made('Concat', ['a', 'b'], ['both'], axis=1),
             made('Conv', ['both', 'last.weight'], ['y'], **pads)]
    graph = onnx.helper.make_graph(
        nodes, 'two_branches',
        [onnx.helper.make_tensor_value_info('x', 1, [1, 3, size, size])],
        [onnx.helper.make_tensor_value_info('y', 1, [1, 8, size, size])],
        [onnx.numpy_helper.from_array(value, f'{name}.weight')
         for name, value in weights.items()])
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid('', 17)],
                                   ir_version=8)
    limits = {name: np.abs(value).max(axis=(1, 2, 3)).tolist() for name, value in weights.items()}
    # less than the values reach, so that both ends of the range matter
    ranges = {'left.input': 1., 'left': 1.5, 'right': 1.5, 'right.input': 1.}
    return model, RangeTable(ranges, limits, 'max', 1)


def test_openvino_optimised_on_concatenated_branches(tmp_path):
    model, table = two_branches()
    layers = ('left', 'right', 'last')
    image = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    flow = QdqWriter(copy.deepcopy(model), table, spelling_of('openvino')).flow
    quantised = insert_qdq(model, table, 'openvino', select(flow, layers))
    want, = run(quantised, image, optimise=False)
    got, = run_openvino(quantised, image, tmp_path / 'model.onnx')
    assert np.abs(want - run(model, image)[0]).max() > 1e-2  # 8 bit, and clipped
    np.testing.assert_allclose(got, want, atol=1e-5)


@pytest.mark.parametrize('part, span', [(1., 'full'), (0.4, 'full'), (0.4, 'equal')])
def test_openvino_optimised_is_the_graph_as_onnx_defines_it(calibrated, float_onnx, part, span,
                                                            tmp_path):
    table = copy.deepcopy(calibrated[1])
    for name in table.activations:
        if not name.endswith('.input'):
            table.activations[name] *= part  # below 1 tensors saturate
    image = images(4)[3]
    model = insert_qdq(float_onnx, table, 'openvino', span=span)
    want = run(model, image, optimise=False)
    got = run_openvino(model, image, tmp_path / 'model.onnx')
    if span == 'full':
        # without a Clip between them, OpenVINO joins additions to the convolution before them and
        # adds that branch as it is before rounding: less noise than the graph has by definition
        want = run(unrounded_branches(model), image, optimise=False)
    np.testing.assert_allclose(got[0], want[0], atol=2e-3)  # pixels
    np.testing.assert_allclose(got[1], want[1], atol=1e-5)


def unrounded_branches(model):
    """Return a graph in which the later input of each addition is clipped, but not rounded."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    nodes = {name: node for node in result.graph.node for name in node.output}
    for add in [node for node in result.graph.node if node.op_type == 'Add']:
        dequantise = nodes.get(add.input[1])
        if dequantise is None or dequantise.op_type != 'DequantizeLinear':
            continue
        quantise = nodes[dequantise.input[0]]
        scale = next(onnx.numpy_helper.to_array(value) for value in result.graph.initializer
                     if value.name == dequantise.input[1])
        ends = [onnx.numpy_helper.from_array(np.float32(end), f'{add.name}/{name}')
                for name, end in (('low', 0), ('high', 255 * scale))]
        result.graph.initializer.extend(ends)
        add.input[1] = quantise.input[0] + '/clipped'
        clip = onnx.helper.make_node('Clip', [quantise.input[0], *(end.name for end in ends)],
                                     [add.input[1]])
        result.graph.node.insert(list(result.graph.node).index(add), clip)
    return result


def test_openvino_agrees_with_fake_quantised_torch(calibrated, float_onnx, spanned, tmp_path):
    quantised, table = calibrated
    spanned('full')
    image = images(4)[0]
    got = run_openvino(insert_qdq(float_onnx, table, 'openvino'), image, tmp_path / 'model.onnx')
    with torch.no_grad():
        boxes, scores = quantised.model.bbox_head.decode(quantised.model.extract_feat(image))
        with quantised.disabled():
            plain, _ = quantised.model.bbox_head.decode(quantised.model.extract_feat(image))
    error = (boxes - plain).abs().mean().item()
    assert np.abs(got[0] - boxes.numpy()).mean() < 0.9 * error  # branches are not rounded
    np.testing.assert_allclose(got[1], scores.numpy(), atol=2e-3)


def test_bad_input(calibrated, float_onnx, fused):
    quantised, table = calibrated
    with pytest.raises(UserError, match='quantised already'):
        insert_qdq(insert_qdq(float_onnx, table), table)
    with pytest.raises(UserError, match='no 8-bit form.*ncnn'):
        insert_qdq(float_onnx, table, 'ncnn')
    old = onnx.ModelProto()
    old.CopyFrom(float_onnx)
    old.opset_import[0].version = 11
    with pytest.raises(UserError, match='opset 11'):
        insert_qdq(old, table)
    other = copy.deepcopy(table)
    other.weights = {f'x{name}': value for name, value in table.weights.items()}
    with pytest.raises(UserError, match='another model'):
        insert_qdq(float_onnx, other)
    with pytest.raises(UserError, match='another model'):
        quantised.load(other)
    narrow = copy.deepcopy(table)
    narrow.weights['backbone.stem.conv.rbr_reparam'] = [1.]
    with pytest.raises(UserError, match='8 output channels, the table 1'):
        insert_qdq(float_onnx, narrow)
    missing = copy.deepcopy(table)
    missing.activations.popitem()
    with pytest.raises(UserError, match='no range for the tensor'):
        insert_qdq(float_onnx, missing)
    with pytest.raises(UserError, match='not fused'):
        quantise_model(build_tiny())


def test_fusing_keeps_the_numbers():
    model = build_tiny()
    image = torch.rand(1, 3, SIZE, SIZE)
    with torch.no_grad():
        for a, b in zip(model(image, None)[1], fuse_model(model)(image, None)[1]):
            torch.testing.assert_close(a, b, atol=1e-3, rtol=1e-4)
