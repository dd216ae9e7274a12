"""Layers: fusion in every configuration, attention, pooling, CSP."""
import copy

import pytest
import torch
from torch import nn

from mmyolonas.models.backbones import YOLONASBackbone
from mmyolonas.models.layers import (
    ConvNormAct,
    QARepVGGBlock,
    SPPBottleneck,
    YOLONASBottleneck,
    YOLONASCSPLayer,
)


def randomise(module: nn.Module) -> nn.Module:
    """Give batch norms and scalars values that a wrong fusion would not survive."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, value in module.state_dict().items():
            if value.is_floating_point():
                low, high = (0.5, 1.5) if 'var' in name or name.endswith('bn.weight') else (-1, 1)
                value.copy_(torch.rand(value.shape, generator=generator) * (high - low) + low)
    return module.double().eval()


OPTIONS = [
    dict(),
    dict(stride=2),
    dict(out_channels=12),
    dict(groups=4),
    dict(groups=4, use_alpha=True),
    dict(dilation=2),
    dict(use_residual=False),
    dict(use_1x1_bias=False),
    dict(use_post_bn=False),
    dict(use_alpha=True),
    dict(use_alpha=True, use_1x1_bias=False, use_post_bn=False),
    dict(attention_ratio=0.25),
]


@pytest.mark.parametrize('options', OPTIONS, ids=str)
@torch.no_grad()
def test_fusion_keeps_the_function(options):
    block = randomise(QARepVGGBlock(8, options.pop('out_channels', 8), **options))
    x = torch.randn(2, 8, 9, 7, dtype=torch.double)
    expected = block(x)
    assert not block.is_fused and expected.abs().max() > 1
    block.fuse_partial()
    assert block.is_fused and not hasattr(block, 'branch_3x3') and not hasattr(block, 'alpha')
    torch.testing.assert_close(block(x), expected, rtol=1e-9, atol=1e-9)
    block.switch_to_deploy()
    assert not any('bn' in name for name, _ in block.named_parameters())
    torch.testing.assert_close(block(x), expected, rtol=1e-9, atol=1e-9)
    state = copy.deepcopy(block.state_dict())
    block.switch_to_deploy()  # idempotent
    block.fuse_partial()
    for key, value in block.state_dict().items():
        torch.testing.assert_close(value, state[key], rtol=0, atol=0)


@torch.no_grad()
def test_block_computes_the_published_formula():
    block = randomise(QARepVGGBlock(6, 6, use_alpha=True, attention_ratio=0.5))
    x = torch.randn(1, 6, 5, 5, dtype=torch.double)
    conv3, conv1 = block.branch_3x3.conv, block.branch_1x1
    y = block.branch_3x3.bn(conv3(x)) + block.alpha * conv1(x) + x
    torch.testing.assert_close(block(x), block.attention(torch.relu(block.post_bn(y))))


def test_partially_fused_block_still_trains():
    block = QARepVGGBlock(4, 4)
    block.fuse_partial()
    block.train()(torch.randn(2, 4, 8, 8)).square().sum().backward()
    assert all(p.grad is not None for p in block.parameters())
    assert {n.split('.')[0] for n, _ in block.named_parameters()} == {'rbr_reparam', 'post_bn'}


def test_every_parameter_of_an_unfused_block_gets_a_gradient():
    block = QARepVGGBlock(4, 4, use_alpha=True, attention_ratio=0.5)
    block(torch.randn(2, 4, 8, 8)).square().sum().backward()
    assert all(p.grad is not None for p in block.parameters())


def test_residual_needs_equal_shapes():
    with pytest.raises(ValueError, match='8 -> 16 channels and stride 1'):
        QARepVGGBlock(8, 16, use_residual=True)


def test_convolution_keeps_pytorchs_initialisation():
    torch.manual_seed(0)
    ours = ConvNormAct(8, 8, 3, norm_cfg=dict(type='BN'), act_cfg=dict(type='ReLU'))
    ours.init_weights()
    torch.manual_seed(0)
    torch.testing.assert_close(ours.conv.weight, nn.Conv2d(8, 8, 3, bias=False).weight)


@torch.no_grad()
def test_spp_pools_are_those_of_the_original():
    spp = SPPBottleneck(8, 6).eval()
    x = spp.cv1(torch.randn(2, 8, 20, 17))
    pools = [nn.functional.max_pool2d(x, k, 1, k // 2) for k in (5, 9, 13)]
    chained = [x]
    for pool in spp.pools:
        chained.append(pool(chained[-1]))
    for ours, expected in zip(chained[1:], pools):
        torch.testing.assert_close(ours, expected, rtol=0, atol=0)


@pytest.mark.parametrize('concat', [False, True])
@pytest.mark.parametrize('block', ['qarepvgg', 'conv'])
def test_csp_layer(concat, block):
    layer = YOLONASCSPLayer(8, 12, 3, 4, concat_intermediates=concat, block=block,
                            attention_ratio=0.5 if block == 'qarepvgg' else None)
    assert layer.conv3.conv.in_channels == (5 if concat else 2) * 4
    out = layer(torch.randn(2, 8, 6, 6))
    assert out.shape == (2, 12, 6, 6)
    out.sum().backward()
    assert all(p.grad is not None for p in layer.parameters())


def test_bottleneck_scales_its_shortcut():
    bottleneck = YOLONASBottleneck(4, block='conv').eval()
    x = torch.randn(1, 4, 5, 5)
    with torch.no_grad():
        residual = bottleneck(x) - x
        bottleneck.alpha.fill_(3)
        torch.testing.assert_close(bottleneck(x), 3 * x + residual)


def test_unknown_block_is_named():
    with pytest.raises(ValueError, match="unknown block type 'repvgg'"):
        YOLONASBottleneck(4, block='repvgg')


@pytest.mark.parametrize('in_channels', [3, 16])
def test_strided_block_trains_in_channels_last(in_channels):
    # oneDNN crashed on this size with 2 to 15 channels
    torch.manual_seed(0)
    block = QARepVGGBlock(in_channels, 16, stride=2, use_residual=False)
    x = torch.rand(8, in_channels, 320, 320)
    results = []
    for memory_format in (torch.contiguous_format, torch.channels_last):
        block.zero_grad()
        y = block(x.contiguous(memory_format=memory_format))
        assert y.is_contiguous(memory_format=memory_format)
        y.square().mean().backward()
        results.append([y.detach(), block.branch_1x1.weight.grad.clone()])
    for value, expected in zip(*results):
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-4)


def test_backbone_trains_in_channels_last_with_the_same_numbers():
    torch.manual_seed(0)
    stages = [dict(out_channels=c, num_blocks=1, hidden_channels=8) for c in (8, 16, 16, 32)]
    backbone = YOLONASBackbone(dict(stem_channels=8, context_channels=32, stages=stages)).double()
    x = torch.rand(2, 3, 64, 96, dtype=torch.double)

    def gradients(outs):
        backbone.zero_grad()
        sum(out.square().sum() for out in outs).backward()
        return [p.grad.clone() for p in backbone.parameters()]

    outs = backbone(x)
    assert all(out.is_contiguous(memory_format=torch.channels_last) for out in outs)
    assert all(out.is_contiguous() for out in backbone.eval()(x))
    backbone.train()
    expected, y = [], backbone.stem(x)  # by hand, in the default order
    for index in range(1, 5):
        y = getattr(backbone, f'stage{index}')(y)
        expected.append(y)
    expected[-1] = backbone.context_module(y)
    for value, reference in zip([*outs, *gradients(outs)], [*expected, *gradients(expected)]):
        torch.testing.assert_close(value, reference, rtol=1e-6, atol=1e-8)
