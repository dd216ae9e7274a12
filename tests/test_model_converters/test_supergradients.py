"""Conversion of all seven models, of every reduced form, and back."""
import json

import numpy as np
import pytest
import torch
from torch import nn

from mmyolonas.model_converters import (
    from_supergradients,
    pose_start_weights,
    to_supergradients,
)
from mmyolonas.model_converters.architecture import Architecture, block_infos, infer_architecture
from mmyolonas.model_converters.names import to_sg_key
from mmyolonas.utils import UserError
from mmyolonas.utils.checkpoints import read_checkpoint
from tests import tiny
from tests.reference import DATA, reference_input
from tests.reference_weights import reference_tensor
from tests.run_tool import run_tool

KEYS = json.loads((DATA / 'state_dict_keys.json').read_text())
MODELS = list(KEYS)


def empty_state(name: str) -> dict:
    """Return a state dict of the original's keys and shapes that takes no memory."""
    return {key: torch.zeros(()).expand(shape) for key, shape in KEYS[name]}


def reference_state(name: str) -> dict:
    return {key: torch.from_numpy(reference_tensor(key, shape)) for key, shape in KEYS[name]}


def tiny_architecture(kind: str = 'detection') -> Architecture:
    cfg = tiny.model_config(3)
    head = dict(in_channels=(16, 16, 32), feat_channels=(8, 8, 8))
    if kind == 'pose':
        head.update(pose_channels=(8, 16, 8), num_pose_convs=(1, 2, 1))
    return Architecture(kind, 'custom', dict(arch=cfg['backbone']['arch']),
                        dict(arch=cfg['neck']['arch']), head, 3)


def random_model(kind: str = 'detection') -> nn.Module:
    """Return a narrow model with weights and statistics unlike the initial ones."""
    model = tiny_architecture(kind).build().to_empty(device='cpu')
    for key, value in model.state_dict().items():
        value.copy_(torch.from_numpy(reference_tensor(key, value.shape)))
    for module in model.modules():  # buffers that are derived, not stored
        if hasattr(module, 'identity_kernel'):
            channels = torch.arange(module.out_channels)
            module.identity_kernel.zero_()[channels, channels] = 1
    if kind == 'pose':
        model.head.sigmas.fill_(0.05)
    return model.eval()


def sg_state(model: nn.Module, placeholder: bool = True) -> dict:
    """Return a model's state dict as SuperGradients would write it."""
    state = {to_sg_key(key): value.clone() for key, value in model.state_dict().items()}
    if placeholder:
        for key in [k for k in state if k.endswith('branch_3x3.conv.weight')]:
            block = key[:-len('branch_3x3.conv.weight')]
            state[f'{block}rbr_reparam.weight'] = torch.randn(state[key].shape)
            state[f'{block}rbr_reparam.bias'] = torch.randn(len(state[key]))
    return state


@torch.no_grad()
def outputs(model: nn.Module, kind: str = 'detection') -> list:
    image = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    head = model.bbox_head if kind == 'detection' else model.head
    return list(head.decode(model.neck(model.backbone(image))))


@pytest.mark.parametrize('name', MODELS)
def test_all_models_there_and_back(name):
    converted, report = from_supergradients(dict(net=empty_state(name)), name)
    kind = 'pose' if 'pose' in name else 'detection'
    assert report.complete and report.mapped == len(converted['state_dict'])
    assert report.mapped + len(report.dropped) == len(KEYS[name])
    assert all('rbr_reparam' in key for key in report.dropped)
    assert converted['meta']['architecture'] == f'{kind} {name[-1]}'
    back, report = to_supergradients(converted, name)
    assert report.complete
    assert [[key, list(value.shape)] for key, value in back['net'].items()] == KEYS[name]


@pytest.mark.parametrize('form', ['unfused', 'partial', 'full'])
@torch.no_grad()
def test_converted_s_gives_the_reference_outputs(form):
    """The published reference's numbers, from the checkpoint in each of its forms."""
    state = reference_state('yolo_nas_s')
    if form != 'unfused':
        converted = from_supergradients(state)[0]['state_dict']
        model = infer_architecture(converted).build().to_empty(device='cpu')
        model.load_state_dict(converted)
        restore_identity(model)
        for part in (model.backbone, model.neck):
            for block in part.modules():
                if hasattr(block, 'fuse_partial') and hasattr(block, 'branch_3x3'):
                    block.fuse_partial() if form == 'partial' else block.switch_to_deploy()
        state = sg_state(model, placeholder=False)
        assert not any('branch_' in key for key in state)
        assert any('post_bn' in key for key in state) == (form == 'partial')
    converted, report = from_supergradients(state)
    assert report.complete
    assert (report.partial, report.full) == dict(
        unfused=(0, 0), partial=(37, 0), full=(0, 37))[form]
    model = infer_architecture(converted['state_dict']).build().to_empty(device='cpu')
    model.load_state_dict(converted['state_dict'], strict=True)
    restore_identity(model)
    fixture = np.load(DATA / 'yolo_nas_s.npz')
    model.eval()
    boxes, scores = model.bbox_head.decode(model.neck(model.backbone(reference_input(fixture))))
    np.testing.assert_allclose(boxes.numpy(), fixture['boxes'], rtol=0, atol=1e-3)
    np.testing.assert_allclose(scores.numpy(), fixture['scores'], rtol=0, atol=1e-5)


def restore_identity(model: nn.Module) -> None:
    """Fill the derived buffers that a model built without memory lacks."""
    for module in model.modules():
        if hasattr(module, 'identity_kernel'):
            channels = torch.arange(module.out_channels)
            module.identity_kernel.zero_()[channels, channels] = 1


@pytest.mark.parametrize('kind', ['detection', 'pose'])
@pytest.mark.parametrize('form', ['partial', 'full'])
def test_own_architecture_in_reduced_forms(kind, form):
    model = random_model(kind)
    expected = outputs(model, kind)
    for block in [m for m in model.modules() if hasattr(m, 'fuse_partial')]:
        block.fuse_partial() if form == 'partial' else block.switch_to_deploy()
    converted, report = from_supergradients(dict(net=sg_state(model, placeholder=False)))
    assert report.complete and 'renormalises' in report.text()
    again = random_model(kind)
    again.load_state_dict(converted['state_dict'], strict=True)
    for value, wanted in zip(outputs(again, kind), expected):
        torch.testing.assert_close(value, wanted, rtol=1e-4, atol=1e-4)


def test_round_trip_keeps_every_number_and_writes_the_fusion():
    model = random_model()
    net = sg_state(model)
    converted, _ = from_supergradients(dict(net=net))
    back, report = to_supergradients(converted)
    assert set(back['net']) == set(net)
    for key, value in net.items():
        if 'rbr_reparam' not in key:
            torch.testing.assert_close(back['net'][key], value, rtol=0, atol=0, msg=key)
    blocks = {name: m for name, m in model.named_modules() if hasattr(m, 'fuse_partial')}
    assert report.added == 2 * len(blocks) == 2 * len(block_infos(tiny_architecture().build()))
    for name, block in blocks.items():
        block.fuse_partial()
        for leaf in ('weight', 'bias'):
            torch.testing.assert_close(
                back['net'][f'{name}.rbr_reparam.{leaf}'], getattr(block.rbr_reparam, leaf))


def test_ema_comes_first_and_module_prefix_goes():
    model = random_model()
    ema = {f'module.{key}': value + 1 for key, value in sg_state(model).items()}
    converted, report = from_supergradients(dict(net=sg_state(model), ema_net=ema))
    torch.testing.assert_close(
        converted['state_dict']['neck.neck1.upsample.bias'],
        model.neck.neck1.upsample.bias.data + 1)
    assert 'ema_net' in report.title


def test_left_over_and_missing_are_named():
    net = sg_state(random_model())
    net['backbone.stage1.blocks.extra.weight'] = torch.zeros(3)
    net['heads.head1.quantizer._amax'] = torch.zeros(())
    del net['neck.neck1.conv.bn.running_mean']
    _, report = from_supergradients(net)
    assert set(report.left_over) == {'backbone.stage1.blocks.extra.weight',
                                     'heads.head1.quantizer._amax'}
    assert report.missing == ['neck.neck1.conv.bn.running_mean']
    assert 'backbone.stage1.blocks.extra.weight' in report.text()


def test_meta():
    steps = [{'ReverseImageChannels': None},
             {'DetectionLongestMaxSizeRescale': {'output_shape': (640, 640)}},
             {'DetectionBottomRightPadding': {'output_shape': (640, 640), 'pad_value': 114}},
             {'StandardizeImage': {'max_value': 255.0}}, {'ImagePermute': {}}]
    params = dict(class_names=['a', 'b', 'c'], conf=0.5, iou=0.65,
                  image_processor={'ComposeProcessing': {'processings': steps}})
    converted, report = from_supergradients(
        dict(net=sg_state(random_model()), processing_params=params))
    meta = converted['meta']
    assert meta['dataset_meta'] == dict(classes=['a', 'b', 'c'])
    assert meta['preprocessing'] == dict(
        bgr_to_rgb=False, scale=640, pad_size=[640, 640], pad_where='bottom_right', pad_value=114,
        mean=[0.0] * 3, std=[255.0] * 3, score_thr=0.5, iou_threshold=0.65)
    assert 'bgr_to_rgb=False' in report.text() and 'longest side: 640' in report.text()
    back, _ = to_supergradients(converted)
    assert back['processing_params']['class_names'] == ['a', 'b', 'c']


def test_pose_start_weights():
    converted, report = pose_start_weights(dict(net=empty_state('yolo_nas_s')), 's.pth')
    keys = set(converted['state_dict'])
    pose, _ = from_supergradients(dict(net=empty_state('yolo_nas_pose_s')))
    assert keys < set(pose['state_dict'])
    assert {key for key in pose['state_dict'] if key.startswith(('backbone.', 'neck.'))} < keys
    in_head = {key.split('.')[3] for key in keys if key.startswith('head.')}
    assert in_head == {'cls_convs', 'reg_convs', 'reg_pred'}
    assert {key.split('.')[3] for key in report.missing} == {
        'pose_stem', 'bbox_stem', 'pose_convs', 'cls_pred', 'pose_pred'}
    # from one of our own checkpoints as well
    ours, _ = from_supergradients(dict(net=empty_state('yolo_nas_s')))
    assert set(pose_start_weights(ours)[0]['state_dict']) == keys
    with pytest.raises(UserError, match='pose checkpoint already'):
        pose_start_weights(pose)


class Evil:
    def __reduce__(self):
        return (print, ('this code ran', ))


def test_files_that_cannot_be_read(tmp_path, capsys):
    path = tmp_path / 'file.pth'
    with pytest.raises(UserError, match='does not exist'):
        read_checkpoint(str(path))
    path.write_bytes(b'this is no checkpoint')
    with pytest.raises(UserError, match='damaged or not a PyTorch checkpoint|cannot be read'):
        read_checkpoint(str(path))
    torch.save(dict(net=sg_state(random_model()), metrics=Evil()), path)
    with pytest.raises(UserError, match='--trust'):
        read_checkpoint(str(path))
    assert 'this code ran' not in capsys.readouterr().out
    assert 'net' in read_checkpoint(str(path), trust=True)
    assert 'this code ran' in capsys.readouterr().out
    path.write_bytes(path.read_bytes()[:5000])
    with pytest.raises(UserError, match='cannot be read'):
        read_checkpoint(str(path))
    for content, message in [([1], 'holds a list'), (dict(net={}), 'holds no state dict'),
                             (dict(state_dict={'a': torch.zeros(1)}), '--reverse'),
                             (dict(net={'backbone.conv1.weight': torch.zeros(1)}),
                              'not that of a YOLO-NAS')]:
        with pytest.raises(UserError, match=message):
            from_supergradients(content)


def test_command_line(tmp_path, capsys):
    """There and back through files, with a config of the model as a check."""
    net = sg_state(random_model())
    source, target, again = (tmp_path / f'{name}.pth' for name in 'abc')
    torch.save(dict(net=net), source)
    config = tmp_path / 'config.py'
    config.write_text(f'default_scope = "mmdet"\nmodel = {tiny.model_config(3)!r}\n')
    tool = 'tools/model_converters/sg2mm.py'
    assert run_tool(tool, source, target, '--config', config) == 0
    assert 'loads strictly into the model of the config' in capsys.readouterr().out
    assert run_tool(tool, target, again, '--reverse') == 0
    assert set(torch.load(again)['net']) == set(net)
    capsys.readouterr()
    net['heads.head1.unknown.weight'] = torch.zeros(1)
    torch.save(dict(net=net), source)
    target.unlink()
    assert run_tool(tool, source, target) == 1
    text = capsys.readouterr()
    assert 'heads.head1.unknown.weight' in text.out
    assert text.err.startswith('error: 1 tensors are left over')
    assert not target.exists()


def test_converted_checkpoint_in_mmdet(tmp_path):
    """init_detector and DetInferencer take weights and class names from the file."""
    from mmdet.apis import DetInferencer, init_detector
    names = ['a', 'b', 'c']
    model = random_model()
    converted, _ = from_supergradients(
        dict(net=sg_state(model), processing_params=dict(class_names=names)))
    torch.save(converted, tmp_path / 'model.pth')
    pipeline = [dict(type='LoadImageFromFile'),
                dict(type='Resize', scale=(64, 64), keep_ratio=True), dict(type='PackDetInputs')]
    config = str(tiny.write_config(tmp_path / 'config.py', dict(
        default_scope='mmdet', model=tiny.model_config(3),
        test_dataloader=dict(dataset=dict(type='CocoDataset', pipeline=pipeline)),
        visualizer=dict(type='DetLocalVisualizer', name='visualizer'))))
    detector = init_detector(config, str(tmp_path / 'model.pth'), device='cpu')
    inferencer = DetInferencer(config, str(tmp_path / 'model.pth'), device='cpu')
    for loaded in (detector, inferencer.model):
        assert list(loaded.dataset_meta['classes']) == names
        for key, value in model.state_dict().items():
            assert torch.equal(loaded.state_dict()[key], value), key
    image = np.full((48, 64, 3), 90, np.uint8)
    assert len(inferencer(image, no_save_vis=True)['predictions']) == 1
