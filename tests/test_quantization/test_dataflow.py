"""Names, classes and readers of tensors, on hand-made computations."""
import pytest

from mmyolonas.export.fusion import fuse_model
from mmyolonas.quantization.graph.dataflow import Op, analyse
from mmyolonas.quantization.graph.groups import default_layers, find_groups, group_name
from mmyolonas.quantization.graph.selection import select
from mmyolonas.quantization.graph.trace import trace
from mmyolonas.utils import UserError

BOTTLENECK = [
    Op('weighted', ('image', ), 'a', 'stem'),
    Op('relu', ('a', ), 'A'),
    Op('weighted', ('A', ), 'b', 'cv1'),
    Op('relu', ('b', ), 'B'),
    Op('weighted', ('B', ), 'c', 'cv2'),
    Op('relu', ('c', ), 'C'),
    Op('rescale', ('A', ), 'A2'),
    Op('add', ('A2', 'C'), 'S', 'block'),
    Op('commute', ('S', ), 'P'),
    Op('commute', ('P', 'S'), 'K'),
    Op('weighted', ('K', ), 'out', 'cls_pred'),
]


def test_names_and_classes():
    flow = analyse(BOTTLENECK)
    assert flow.layers == dict(stem=('stem.input', 'stem'), cv1=('stem', 'cv1'),
                               cv2=('cv1', 'cv2'), cls_pred=('cv2.add', 'cls_pred'))
    add, = flow.additions
    assert (add.name, add.shortcut, add.branch, add.site) == ('cv2.add', 'stem', 'cv2', 'block')
    assert flow.names['P'] == flow.names['K'] == 'cv2.add'
    assert {'A', 'B', 'C', 'S', 'P', 'K'} <= flow.nonnegative
    assert not {'a', 'image', 'out'} & flow.nonnegative


def test_concatenation_joins_classes():
    flow = analyse([
        Op('weighted', ('x', ), 'a', 'one'),
        Op('weighted', ('x', ), 'b', 'two'),
        Op('commute', ('b', 'a'), 'k'),
        Op('weighted', ('k', ), 'c', 'three'),
    ])
    assert flow.tensor_class('two') == 'one' == flow.input_class('three')
    assert flow.classes()['one'] == ['one', 'two']
    assert flow.readers('one') == ['three']
    # 'two' makes a tensor that is not surely positive, so nothing joined with it is
    assert 'k' not in flow.nonnegative


def test_concatenation_with_an_unknown_tensor_joins_nothing():
    flow = analyse([
        Op('weighted', ('x', ), 'a', 'one'),
        Op('commute', ('a', 'elsewhere'), 'k'),
        Op('weighted', ('k', ), 'c', 'two'),
    ])
    assert flow.layers['two'][0] == 'two.input'


def test_selection_follows_the_layers():
    flow = analyse(BOTTLENECK)
    chosen = select(flow, ['cv1', 'cv2'])
    assert chosen.additions == {'cv2.add'}
    assert chosen.classes == {'stem', 'cv1', 'cv2', 'cv2.add'}
    assert select(flow, ['cls_pred']).classes == {'cv2.add'}  # a prediction is never 8 bit
    with pytest.raises(UserError, match='another model.*nothing'):
        select(flow, ['nothing'])


@pytest.mark.parametrize('layer, group', [
    ('backbone.stage1.blocks.bottlenecks.1.cv2.rbr_reparam',
     'backbone.stage1.blocks.bottlenecks.1'),
    ('neck.neck3.blocks.bottlenecks.0.cv1.conv', 'neck.neck3.blocks.bottlenecks.0'),
    ('neck.neck1.blocks.conv2.conv', 'neck.neck1.blocks.conv1+conv2'),
    ('neck.neck1.blocks.conv3.conv', 'neck.neck1.blocks.conv3'),
    ('backbone.stem.conv.rbr_reparam', 'backbone.stem.conv'),
    ('neck.neck1.upsample', 'neck.neck1.upsample'),
])
def test_groups(layer, group):
    assert group_name(layer) == group


def test_torch_and_onnx_agree(fused, float_onnx):
    from mmyolonas.quantization.graph.steps import StepGraph
    torch_flow = analyse(trace(fused))
    graph = StepGraph(float_onnx)
    onnx_flow = analyse(graph.steps(graph.layer_names(torch_flow.layers)))
    assert onnx_flow.layers == torch_flow.layers
    assert onnx_flow.classes() == torch_flow.classes()
    assert [(a.name, a.shortcut, a.branch) for a in onnx_flow.additions] == [
        (a.name, a.shortcut, a.branch) for a in torch_flow.additions]
    assert len(torch_flow.additions) == 5 + 4
    groups = find_groups(torch_flow)
    assert sum(len(group.layers) for group in groups) == len(torch_flow.layers)
    assert sum(group.is_prediction for group in groups) == 6


def test_predictions_are_what_no_layer_reads():
    """Whatever the head calls its layers, and whatever stands between it and the next."""
    flow = analyse([
        Op('weighted', ('image', ), 'a', 'stem'),
        Op('other', ('a', ), 'squeezed'),
        Op('weighted', ('squeezed', ), 'gate', 'attention'),
        Op('other', ('gate', 'a'), 'gated'),
        Op('weighted', ('gated', ), 'p', 'rtm_cls'),
        Op('other', ('p', ), 'scores'),
    ])
    assert [flow.is_prediction(name) for name in ('stem', 'attention', 'rtm_cls')] == [
        False, False, True]
    assert default_layers(flow) == ['stem', 'attention']
    assert [group.name for group in find_groups(flow) if group.is_prediction] == ['rtm_cls']
    assert not flow.is_input('stem') and flow.is_input('rtm_cls.input')


def test_predictions_of_another_head():
    """A detector of mmdet whose predictions have other names."""
    from mmdet.utils import register_all_modules
    from mmengine.registry import MODELS
    register_all_modules(init_default_scope=True)
    from .conftest import tiny_config
    cfg = tiny_config()
    cfg['bbox_head'] = dict(
        type='mmdet.RTMDetHead', num_classes=3, in_channels=16, stacked_convs=1, feat_channels=8,
        anchor_generator=dict(type='mmdet.MlvlPointGenerator', offset=0, strides=[8, 16, 32]),
        bbox_coder=dict(type='mmdet.DistancePointBBoxCoder'), norm_cfg=dict(type='BN'),
        loss_cls=dict(type='mmdet.QualityFocalLoss', use_sigmoid=True, beta=2.0, loss_weight=1.0),
        loss_bbox=dict(type='mmdet.GIoULoss', loss_weight=2.0), with_objectness=False,
        act_cfg=dict(type='ReLU'))
    cfg['neck']['arch']['stages'] = [dict(out_channels=16, num_blocks=1, hidden_channels=8)] * 4
    cfg['train_cfg'] = dict()
    flow = analyse(trace(fuse_model(MODELS.build(cfg))))
    found = [layer for layer in flow.layers if flow.is_prediction(layer)]
    assert sorted(found) == ['bbox_head.rtm_cls', 'bbox_head.rtm_reg']
