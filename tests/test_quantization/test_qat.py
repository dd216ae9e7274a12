"""Quantisation-aware training: gradients, checkpoints, resuming."""
import copy
import os

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS
from mmengine.runner import Runner
from mmengine.structures import InstanceData
from torch.utils.data import Dataset

from mmyolonas.export import metadata_from_config
from mmyolonas.quantization.qat import load_float_weights, load_qat, quantization_of
from mmyolonas.utils import UserError
from mmyolonas.utils.configs import load_config

from .conftest import SIZE, build_tiny, images, tiny_config


@DATASETS.register_module(name='QATTestBoxes', force=True)
class Boxes(Dataset):
    """Random images with one box each."""

    def __len__(self):
        return 4

    def __getitem__(self, index):
        sample = DetDataSample(metainfo=dict(
            img_id=index, img_shape=(SIZE, SIZE), ori_shape=(SIZE, SIZE), scale_factor=(1, 1)))
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor([[8., 8, 40, 48]]), labels=torch.tensor([index % 3]))
        image = images(1, seed=index)[0][0].mul(255).byte()
        return dict(inputs=image, data_samples=sample)


def config(work_dir, epochs=2, **hook):
    return Config(dict(
        default_scope='mmdet', work_dir=str(work_dir),
        model=dict(type='mmyolonas.QuantizedModel', model=tiny_config()),
        train_dataloader=dict(batch_size=2, num_workers=0,
                              dataset=dict(type='mmengine.QATTestBoxes'),
                              sampler=dict(type='DefaultSampler', shuffle=False),
                              collate_fn=dict(type='pseudo_collate')),
        train_cfg=dict(by_epoch=True, max_epochs=epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=1e-3)),
        custom_hooks=[dict(type='mmyolonas.QATHook', **hook)],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', interval=1)),
        randomness=dict(seed=0), experiment_name=f'qat{epochs}{hash(str(work_dir))}'))


@pytest.fixture
def start(tmp_path, calibrated):
    """A float checkpoint and ranges."""
    torch.save(dict(state_dict=build_tiny().state_dict()), tmp_path / 'float.pth')
    calibrated[1].save(tmp_path / 'ranges.json')
    return dict(checkpoint=str(tmp_path / 'float.pth'), ranges=str(tmp_path / 'ranges.json'))


def test_every_weight_gets_a_gradient():
    model = MODELS.build(dict(type='mmyolonas.QuantizedModel', model=tiny_config()))
    load_float_weights(quantization_of(model), build_tiny())
    data = model.data_preprocessor(dict(
        inputs=[Boxes()[0]['inputs']], data_samples=[Boxes()[0]['data_samples']]), True)
    losses = model.loss(data['inputs'], data['data_samples'])
    sum(losses.values()).backward()
    missing = [name for name, parameter in model.named_parameters()
               if parameter.grad is None or not parameter.grad.abs().sum() > 0]
    # a level without positives has no gradient of its boxes
    assert not [name for name in missing if not name.startswith('bbox_head.levels')]


def test_starts_at_the_calibrated_model_and_resumes(tmp_path, start, calibrated):
    whole = Runner.from_cfg(config(tmp_path / 'whole', 2, **start))
    quantised = quantization_of(whole.model)
    whole.call_hook('before_train')
    want = calibrated[0].model.eval()(images(1)[0], None)
    got = whole.model.eval()(images(1)[0], None)
    for a, b in zip(want[1], got[1]):
        torch.testing.assert_close(a, b)
    assert quantised.table().activations == calibrated[1].activations
    whole.train()

    part = Runner.from_cfg(config(tmp_path / 'part', 1, **start))
    part.train()
    os.remove(start['checkpoint'])  # not needed any more
    resumed_cfg = config(tmp_path / 'part', 2, **start)
    resumed_cfg.update(resume=True, load_from=None, experiment_name='resumed')
    resumed = Runner.from_cfg(resumed_cfg)
    resumed.train()
    for (name, a), b in zip(whole.model.state_dict().items(),
                            resumed.model.state_dict().values()):
        torch.testing.assert_close(a, b, msg=name)
    moved = resumed.model.state_dict()['backbone.stem.conv.rbr_reparam.weight']
    assert not torch.equal(moved, part.model.state_dict()['backbone.stem.conv.rbr_reparam.weight'])

    fused, _, table = load_qat(resumed_cfg, str(tmp_path / 'part' / 'epoch_2.pth'))
    torch.testing.assert_close(fused.state_dict()['backbone.stem.conv.rbr_reparam.weight'], moved)
    assert table.activations == calibrated[1].activations


def test_bad_input(tmp_path, start, calibrated):
    missing = dict(start, checkpoint=str(tmp_path / 'nothing.pth'))
    with pytest.raises(UserError, match='no such float checkpoint'):
        Runner.from_cfg(config(tmp_path / 'a', 1, **missing)).train()
    with pytest.raises(UserError, match='has no quantisers'):
        quantization_of(build_tiny())
    with pytest.raises(UserError, match='another architecture'):
        load_float_weights(copy.deepcopy(calibrated[0]), build_tiny(concat_intermediates=True))
    with pytest.raises(UserError, match='needs the config of a quantisation-aware'):
        load_qat(Config(dict(model=tiny_config())), 'x.pth')


@pytest.mark.parametrize('name', ['yolonas/yolonas_s_sample', 'yolonas_pose/yolonas_pose_n_sample'])
def test_files_of_a_training_say_what_those_of_its_float_model_say(name):
    """Task, names, pre-processing and thresholds are the inner model's."""
    cfg = load_config(f'mmyolonas::{name}.py')
    wanted = metadata_from_config(cfg)
    assert wanted.task == ('pose' if 'pose' in name else 'detection')
    cfg.model = dict(type='mmyolonas.QuantizedModel', model=cfg.model)
    assert metadata_from_config(cfg) == wanted
