"""A pose estimator that learns from another."""
import copy

import pytest
import torch
from mmengine.config import Config

pytest.importorskip('mmpose')

from mmengine.runner import Runner  # noqa: E402

from mmyolonas.utils import UserError  # noqa: E402
from mmyolonas.utils.building import build_model  # noqa: E402
from tests import tiny  # noqa: E402
from tests.test_engine.test_distillation.test_distillation_hook import Record  # noqa: E402
from tests.test_pose.test_pose_end_to_end import config, write_data  # noqa: E402


@pytest.fixture
def cfg(tmp_path):
    """A training with a teacher of the same architecture."""
    write_data(tmp_path)
    cfg = config(tmp_path)
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    cfg.default_hooks.pop('visualization')
    cfg.default_hooks.checkpoint = None
    teacher = Config(dict(default_scope='mmpose', model=cfg.model.to_dict()))
    torch.manual_seed(5)
    state = build_model(copy.deepcopy(teacher)).state_dict()
    for key in state:
        if key.endswith('cls_pred.bias'):
            state[key] += 4
    torch.save(dict(state_dict=state), tmp_path / 'teacher.pth')
    tiny.write_config(tmp_path / 'teacher.py', teacher.to_dict())
    cfg.custom_hooks = [dict(type='mmyolonas.DistillationHook', teacher=dict(
        config=str(tmp_path / 'teacher.py'), checkpoint=str(tmp_path / 'teacher.pth')))]
    return cfg


def test_training(cfg):
    runner = Runner.from_cfg(cfg)
    before = set(runner.model.state_dict())
    record = Record()
    runner.register_hook(record)
    runner.train()
    assert len(record.losses) == 4
    for row in record.losses:
        terms = {key: value for key, value in row.items() if '_kd_' in key}
        assert set(terms) == {
            'loss_kd_cls', 'loss_kd_dfl', 'loss_kd_kpt', 'loss_kd_kpt_score'}
        assert all(value > 0 for value in terms.values())
        assert row['loss'] == pytest.approx(sum(v for k, v in row.items() if k != 'loss'))
    assert set(runner.model.state_dict()) == before


def test_features_and_own_average(cfg):
    channels = (16, 16, 32)
    cfg.model.head.feature_adapters = dict(
        type='mmyolonas.FeatureAdapters', in_channels=channels, out_channels=channels)
    cfg.custom_hooks[0].update(teacher='ema', weights=dict(feat=1.0, kpt=0.5))
    cfg.custom_hooks.append(dict(type='mmyolonas.ScheduledEMAHook'))
    cfg.train_cfg.max_epochs = 1
    runner = Runner.from_cfg(cfg)
    record = Record()
    runner.register_hook(record)
    runner.train()
    assert all(row['loss_kd_feat'] > 0 for row in record.losses)


def test_other_number_of_key_points(cfg):
    cfg.custom_hooks[0].teacher.cfg_options = {'model.head.num_keypoints': 5}
    with pytest.raises(UserError, match='number of classes or key points'):
        Runner.from_cfg(cfg).train()
