"""Operators found in a model are those of its exported graph."""
import copy
from collections import Counter

import numpy as np
import pytest
import torch
from mmengine.registry import init_default_scope
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

import mmyolonas.models  # noqa: F401
from mmyolonas.registry import MODELS
from mmyolonas.search.latency.operator_graph import graph_operators, read_graph
from mmyolonas.search.latency.operator_timing import export_network
from mmyolonas.search.latency.operators import (
    Operator,
    boundary_operators,
    decode_operator,
    operators,
    sides,
)
from mmyolonas.search.space.architecture import build
from mmyolonas.search.space.space import Space
from mmyolonas.utils import UserError
from tests import tiny


@pytest.fixture()
def model():
    init_default_scope('mmdet')
    return MODELS.build(tiny.model_config())


def architecture(task: str, name: str) -> dict:
    """Return a published architecture by its letter, a random one by its number."""
    space = Space(task, [64])
    if name.isdigit():
        return space.sample(np.random.default_rng(int(name)))
    return space.decode(space.published(name))


@pytest.mark.parametrize('task, name', [
    ('detection', 's'), ('pose', 'n'), ('detection', '0')])
@pytest.mark.long
def test_model_and_exported_graph_have_the_same_operators(task, name):
    torch.manual_seed(0)
    found = build(architecture(task, name))
    expected = graph_operators(export_network(found, (64, 96)))
    assert Counter(operators(found, (64, 96))) == Counter(expected)
    assert expected[-1].kind == 'decode' and sum(op.prediction for op in expected) == (
        6 if task == 'detection' else 9)


@pytest.mark.parametrize('changes', [
    dict(context_kernels=None), dict(context_kernels=(5, )), dict(attention_ratio=0.5),
    dict(concat_intermediates=True, block='conv', num_blocks=3), dict(num_convs=0)])
def test_variants_agree_as_well(changes):
    config = tiny.model_config()
    for name, value in changes.items():
        if name == 'context_kernels':
            config['backbone']['arch'][name] = value
        elif name == 'num_convs':
            config['bbox_head'][name] = value
        else:
            config['backbone']['arch']['stages'][1][name] = value
    init_default_scope('mmdet')
    model = MODELS.build(config)
    assert Counter(operators(model, 64)) == Counter(graph_operators(export_network(model, 64)))


def test_some_operators_by_hand(model):
    found = operators(model, (64, 96))
    assert found[0] == Operator('conv', 3, 8, 32, 48, 3, 2)
    counts = Counter(op.kind for op in found)
    # a bottleneck adds, a CSP layer and a joint of the neck concatenates, SPP pools thrice
    assert counts['add'] == 8 and counts['pool'] == 3 and counts['deconv'] == 2
    assert counts['concat'] == 8 + 4 + 1
    # 8 * 12 + 4 * 6 + 2 * 3 priors; 2 classes and 4 * 17 bins
    assert found[-1] == Operator('decode', 70, 6, 1, 126, kernel=17)
    pool = next(op for op in found if op.kind == 'pool')
    assert pool == Operator('pool', 16, 16, 2, 3, 5)
    assert Operator('deconv', 16, 16, 4, 6, 2, 2) in found


def test_work_is_that_counted_by_torch(model):
    found = operators(model, 64)
    plain = copy.deepcopy(model).eval()
    plain.switch_to_deploy()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        feats = plain.neck(plain.backbone(torch.zeros(1, 3, 64, 64)))
        for level, feat in zip(plain.bbox_head.levels, feats):
            level(feat)
    assert 2 * sum(op.macs for op in found) == counter.get_total_flops()
    convs = [m for m in plain.modules() if isinstance(m, (nn.Conv2d, nn.ConvTranspose2d))]
    assert sum(op.weights for op in found) == sum(conv.weight.numel() for conv in convs)


def test_form_mode_and_device_do_not_matter(model):
    expected = operators(model.eval(), 64)
    assert operators(model.train(), 64) == expected
    assert all(module.training for module in model.modules())
    assert not any('forward' in vars(module) for module in model.modules())
    fused = copy.deepcopy(model)
    fused.switch_to_deploy()
    assert operators(fused, 64) == expected
    with torch.device('meta'):
        assert operators(MODELS.build(tiny.model_config()), 64) == expected


def test_attention_keeps_the_scale_of_its_shortcut():
    config = tiny.model_config()
    config['backbone']['arch']['stages'][2].update(num_blocks=2, attention_ratio=0.25)
    init_default_scope('mmdet')
    model = MODELS.build(config)
    found = operators(model, 64)
    counts = Counter(op.kind for op in found)
    # two blocks in each of two bottlenecks: mean, two convolutions, sigmoid, product
    assert counts['mean'] == counts['sigmoid'] == counts['scale'] == 4
    assert counts['rescale'] == 2
    assert Operator('mean', 8, 8, 4, 4) in found and Operator('conv', 8, 2, 1, 1) in found
    # what attention reads: four maps, and four times the last of its own convolutions
    assert Counter(op.kernel for op in found if op.float_output) == {3: 4, 1: 4}
    assert Counter(graph_operators(export_network(model, 64))) == Counter(found)


def test_boundaries_are_at_the_image_and_the_predictions(model):
    found = operators(model, (64, 96))
    begin, *ends = boundary_operators(found)
    assert begin == Operator('quantise', 3, 3, 64, 96)
    assert [(op.kind, op.in_channels) for op in ends] == [('dequantise', 8)] * 6
    assert sorted({(op.height, op.width) for op in ends}) == [(2, 3), (4, 6), (8, 12)]


def test_every_node_of_the_graph_has_an_operator(model):
    proto = export_network(model, 64)
    graph = read_graph(proto)
    skipped = [node.name for node in proto.graph.node
               if node.op_type != 'Constant' and node.name not in graph.owners]
    assert skipped == []
    for node in proto.graph.node:
        if node.op_type == 'Conv':
            assert graph.operators[graph.owners[node.name]].kind == 'conv'


def test_values_that_are_read_and_written():
    conv = Operator('conv', 8, 16, 10, 12, 3, 2)
    assert (conv.values, conv.input_values) == (16 * 120, 8 * 480)
    assert (conv.macs, conv.weights) == (16 * 120 * 72, 8 * 16 * 9)
    assert Operator('add', 8, 8, 4, 4).input_values == 2 * 128
    assert decode_operator(148, 17, 100) == Operator('decode', 148, 84, 1, 100, kernel=17)
    assert Operator(*conv.row()) == conv


def test_what_cannot_be_counted_is_said(model):
    model.backbone.stem.conv.act = nn.Softmax(dim=1)
    with pytest.raises(UserError, match=r"no operator for torch's softmax\(\)"):
        operators(model, 64)
    for size in (0, 100, (64, ), (64, 50), (32, 32, 32)):
        with pytest.raises(UserError, match='multiples of 32'):
            sides(size)
