"""16-bit graphs and the clean-up passes."""
import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mmyolonas.export import convert_fp16, onnx_graph, onnx_passes
from mmyolonas.export.precision import count_quantizers, float_nodes
from tests.exported_models import pixels
from tests.quantise import quantise


def run(model, image):
    """Run a graph in ONNX Runtime."""
    import onnxruntime as ort
    session = ort.InferenceSession(model.SerializeToString(), providers=['CPUExecutionProvider'])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {'input': image})))


def types_of(model):
    """Return the element type of every tensor by name."""
    graph = onnx.shape_inference.infer_shapes(model, strict_mode=True).graph
    types = {v.name: v.type.tensor_type.elem_type
             for v in [*graph.input, *graph.output, *graph.value_info]}
    types.update({i.name: i.data_type for i in graph.initializer})
    return types


@pytest.mark.parametrize('task, nms', [('detection', 'onnx'), ('pose', 'none')])
def test_network_is_16_bit_and_decoding_is_not(zoo, task, nms):
    model = onnx.load(zoo.file(task, nms))
    half = convert_fp16(model)
    onnx.checker.check_model(half, full_check=True)
    types = types_of(half)
    convolutions = [node for node in half.graph.node if node.op_type == 'Conv']
    assert convolutions and all(types[name] == TensorProto.FLOAT16
                                for node in convolutions for name in [*node.input, *node.output])
    kept = [node for node in half.graph.node
            if node.name.startswith(('decode', 'nms')) and types[node.output[0]] in (1, 10)]
    assert len(kept) > 10
    assert all(types[node.output[0]] == TensorProto.FLOAT for node in kept)
    assert types['input'] == TensorProto.FLOAT
    image = pixels(1, 96, 128)
    exact, rough = run(model, image), run(half, image)
    if nms == 'none':
        assert np.abs(exact['scores'] - rough['scores']).max() < 0.05
        assert np.abs(exact['boxes'] - rough['boxes']).mean() < 0.5
    assert {k: v.dtype for k, v in exact.items()} == {k: v.dtype for k, v in rough.items()}
    # the given graph is untouched
    assert not [i for i in model.graph.initializer if i.data_type == TensorProto.FLOAT16]


def test_float_nodes_are_those_behind_the_convolutions(zoo):
    names = float_nodes(onnx.load(zoo.file()))
    assert names and all(name.startswith(('decode', 'nms')) for name in names)


def test_quantised_graph_takes_16_bit_scales(zoo, tmp_path):
    path = quantise(zoo.file('detection', 'none'), str(tmp_path / 'q.onnx'))
    model = onnx.load(path)
    assert count_quantizers(model) > 10
    half = convert_fp16(model)
    types = types_of(half)
    scales = [node.input[1] for node in half.graph.node if node.op_type == 'DequantizeLinear']
    assert scales and all(types[name] == TensorProto.FLOAT16 for name in scales)
    image = pixels(1, 96, 128)
    exact, rough = run(model, image), run(half, image)
    # a value at the border of two steps may take the other one
    assert np.abs(exact['scores'] - rough['scores']).mean() < 0.03
    scale = next(i for i in model.graph.initializer if i.name == next(
        node.input[1] for node in model.graph.node if node.op_type == 'DequantizeLinear'))
    tiny = numpy_helper.to_array(scale) * np.float32(1e-9)
    scale.CopyFrom(numpy_helper.from_array(tiny.astype(np.float32), scale.name))
    with pytest.raises(ValueError, match='too small for 16 bit'):
        convert_fp16(model)


def test_a_graph_without_convolutions_is_refused():
    node = helper.make_node('Relu', ['x'], ['y'])
    graph = helper.make_graph(
        [node], 'g', [helper.make_tensor_value_info('x', 1, [1])],
        [helper.make_tensor_value_info('y', 1, [1])])
    with pytest.raises(ValueError, match='no convolution'):
        convert_fp16(helper.make_model(graph))


def small_graph():
    """Return a graph with a unit factor, a dead node and an unused weight."""
    nodes = [
        helper.make_node('Mul', ['x', 'one'], ['a'], 'unit'),
        helper.make_node('Relu', ['a'], ['y'], '/part/part.0/act/Relu'),
        helper.make_node('Exp', ['x'], ['z'], 'dead'),
    ]
    weights = [numpy_helper.from_array(np.ones(1, np.float32), 'one'),
               numpy_helper.from_array(np.ones(3, np.float32), 'idle')]
    graph = helper.make_graph(
        nodes, 'g', [helper.make_tensor_value_info('x', 1, [4])],
        [helper.make_tensor_value_info('y', 1, [4])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid('', 17)])
    model.ir_version = 8
    return model


def test_dead_nodes_idle_weights_and_unit_factors():
    model = small_graph()
    assert onnx_graph.dead_nodes(model) == ['dead']
    with pytest.raises(ValueError, match='lead to no output'):
        onnx_passes.check(model)
    onnx_graph.drop_unit_factors(model)
    assert [node.op_type for node in model.graph.node] == ['Relu']
    assert list(model.graph.node[0].input) == ['x'] and not model.graph.initializer
    onnx_passes.check(model)
    model.graph.initializer.append(numpy_helper.from_array(np.ones(1, np.float32), 'idle'))
    with pytest.raises(ValueError, match='weights are not used'):
        onnx_passes.check(model)


def branching_graph():
    """Return a graph whose branches read values and constants from outside."""
    def branch(op, name):
        return helper.make_graph([helper.make_node(op, ['/a/Relu_output_0', 'half'], [name])], name,
                                 [], [helper.make_tensor_value_info(name, 1, [1, 3, 8, 8])])
    nodes = [
        helper.make_node('Relu', ['x'], ['/a/Relu_output_0'], '/a/Relu'),
        helper.make_node('Mul', ['/a/Relu_output_0', 'one'], ['/b/Mul_output_0'], '/b/Mul'),
        helper.make_node('ReduceMax', ['/b/Mul_output_0'], ['top'], '/c/ReduceMax', keepdims=0),
        helper.make_node('Greater', ['top', 'half'], ['which'], '/c/Greater'),
        helper.make_node('If', ['which'], ['y'], '/d/If', then_branch=branch('Mul', 'then'),
                         else_branch=branch('Sub', 'else'))]
    weights = [numpy_helper.from_array(np.float32(1), 'one'),
               numpy_helper.from_array(np.float32(0.5), 'half')]
    shape = [1, 3, 8, 8]
    model = helper.make_model(helper.make_graph(
        nodes, 'g', [helper.make_tensor_value_info('x', 1, shape)],
        [helper.make_tensor_value_info('y', 1, shape)], weights),
        opset_imports=[helper.make_opsetid('', 17)])
    model.ir_version = 8
    return model


def test_edits_reach_into_branches():
    """Names, factors and pre-processing change what the bodies of an If read, too."""
    from mmyolonas.export.metadata import Preprocess
    model, image = branching_graph(), pixels(1, 8, 8)
    expected = onnx_passes.run_graph(model, {'x': image})
    onnx_graph.drop_unit_factors(model)
    onnx_passes.rename_tensors(model, {'a': 'first'})
    assert [node.output[0] for node in model.graph.node][:2] == ['first', 'c.ReduceMax']
    assert model.graph.node[-1].attribute[0].g.node[0].input[0] == 'first'
    onnx_passes.check(model)
    assert np.array_equal(expected, onnx_passes.run_graph(model, {'x': image}))
    raw = np.round(image * 255).astype(np.uint8)
    onnx_passes.prepend_preprocess(model, Preprocess(
        channel_order='BGR', mean=[0., 0., 0.], std=[255., 255., 255.], in_graph=True))
    onnx_passes.check(model)
    assert np.allclose(expected, onnx_passes.run_graph(model, {'x': raw}), atol=2e-3)


def test_an_edit_that_fails_changes_nothing():
    model = small_graph()
    before = model.SerializeToString()
    with pytest.raises(RuntimeError), onnx_graph.editing(model) as view:
        view.graph.remove(view.graph[0])
        raise RuntimeError
    assert model.SerializeToString() == before


def test_simplification_that_changes_numbers_is_noticed():
    model, other = small_graph(), small_graph()
    other.graph.initializer[0].CopyFrom(numpy_helper.from_array(np.full(1, 2, 'f'), 'one'))
    feed = {'x': np.arange(4, dtype=np.float32)}
    onnx_passes.compare(model, model, feed, 1e-4)
    with pytest.raises(RuntimeError, match="differs in output 'y'"):
        onnx_passes.compare(model, other, feed, 1e-4)


@pytest.mark.parametrize('name, kind, expected', [
    ('/backbone/stem/conv/rbr_reparam/Conv', 'Conv', 'backbone.stem.conv.rbr_reparam'),
    ('/levels.1/cls_convs/cls_convs.0/conv/Conv', 'Conv', 'head.levels.1.cls_convs.0.conv'),
    ('/neck/blocks/bottlenecks.0/Add', 'Add', 'neck.blocks.bottlenecks.0.Add'),
    ('/decode/expectation/Exp_output_0', 'Exp', 'decode.expectation.Exp'),
])
def test_names_are_module_paths(name, kind, expected):
    assert onnx_passes.readable_name(name, kind, {'levels.1': 'head.levels.1',
                                                  'levels': 'head.levels'}) == expected


def test_scales_of_a_weight_are_judged_one_by_one():
    """Large channels round by more than a small channel is: that is no loss of the small one."""
    scales = np.array([1., 1 / 3, 1e-3], np.float32)  # each within half a per mille in 16 bit

    def make(scales):
        graph = helper.make_graph(
            [helper.make_node('DequantizeLinear', ['w', 's', 'z'], ['W'], axis=0),
             helper.make_node('Conv', ['x', 'W'], ['y'])], 'g',
            [helper.make_tensor_value_info('x', 1, [1, 1, 4, 4])],
            [helper.make_tensor_value_info('y', 1, [1, 3, 4, 4])],
            [numpy_helper.from_array(np.ones((3, 1, 1, 1), np.int8), 'w'),
             numpy_helper.from_array(scales, 's'),
             numpy_helper.from_array(np.zeros(3, np.int8), 'z')])
        return helper.make_model(graph, opset_imports=[helper.make_opsetid('', 19)], ir_version=9)

    assert any(init.name == 's.fp16' for init in convert_fp16(make(scales)).graph.initializer)
    with pytest.raises(ValueError, match='too small for 16 bit'):
        convert_fp16(make(np.array([1., 1 / 3, 1e-9], np.float32)))
