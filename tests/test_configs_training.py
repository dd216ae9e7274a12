"""The configs of pre-training, pseudo-labels and distillation."""
import json

import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset, Objects365V2Dataset
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import DATASETS, HOOKS, MODELS
from mmengine.runner import Runner

from mmyolonas.engine.distillation import find_head
from mmyolonas.engine.distillation.teacher import check_heads
from mmyolonas.utils.configs import load_config
from tests.test_configs import CONFIGS, build_model, load, shrink, use_data, write_data

DISTILL = sorted(p.relative_to(CONFIGS).as_posix() for p in (CONFIGS / 'distill').glob('*.py'))
PRETRAIN = sorted(p.relative_to(CONFIGS).as_posix() for p in (CONFIGS / 'pretrain').glob('*.py'))


def build_meta(cfg: Config):
    with torch.device('meta'):
        return MODELS.build(cfg.model)


@pytest.mark.parametrize('name', DISTILL)
def test_the_teacher_fits(name):
    """Its config is found wherever training is started from; heads and adapters agree."""
    cfg = load(name)
    if cfg.default_scope == 'mmpose':
        pytest.importorskip('mmpose')
    hooks = [hook for hook in cfg.custom_hooks if hook.type == 'mmyolonas.DistillationHook']
    types = [hook.type for hook in cfg.custom_hooks]
    assert len(set(types)) == len(types) and 'mmyolonas.ScheduledEMAHook' in types
    if not hooks:
        assert name == 'distill/yolonas_m_sample.py'  # a teacher
        return
    hook, student = HOOKS.build(hooks[0]), build_meta(cfg)
    weights = hook._weights(find_head(student))
    if hook.teacher != 'ema':
        teacher = build_meta(load_config(hook.teacher['config']))
        check_heads(find_head(teacher), find_head(student))
        assert sum(p.numel() for p in teacher.parameters()) > sum(
            p.numel() for p in student.parameters())
        if 'feat' in weights:
            adapters = find_head(student).feature_adapters
            assert [x.out_channels for x in adapters] == list(teacher.neck.out_channels)
            assert [x.in_channels for x in adapters] == list(student.neck.out_channels)
    assert ('feat' in weights) == ('feat' in name)


def train_step(cfg: Config) -> dict:
    """Return the losses of one step of a config's model on its training data."""
    torch.manual_seed(0)
    model = build_model(cfg).train()
    wrapper = build_optim_wrapper(model, dict(
        type='OptimWrapper', optimizer=cfg.optim_wrapper.optimizer,
        paramwise_cfg=cfg.optim_wrapper.paramwise_cfg))
    losses = model.train_step(
        next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0))), wrapper)
    assert all(torch.isfinite(value).all() for value in losses.values())
    return losses


@pytest.mark.long
def test_objects365(tmp_path):
    """The published classes; images are found by patch and name."""
    cfg = load('pretrain/yolonas_s_objects365.py')
    assert tuple(cfg.classes) == Objects365V2Dataset.METAINFO['classes']
    assert len(cfg.classes) == cfg.model.bbox_head.num_classes == 365
    use_data(cfg, tmp_path)
    data = json.loads((tmp_path / 'ann.json').read_text())
    (tmp_path / 'patch3').mkdir()
    for image in data['images']:
        (tmp_path / image['file_name']).rename(tmp_path / 'patch3' / image['file_name'])
        image['file_name'] = f'images/v2/patch3/{image["file_name"]}'
    for annotation in data['annotations']:
        annotation['category_id'] = 365
    (tmp_path / 'ann.json').write_text(json.dumps(data))
    train_step(cfg)
    sample = DATASETS.build(cfg.test_dataloader.dataset)[0]['data_samples']
    assert sample.img_path.endswith('patch3/0.jpg') and len(sample.gt_instances) == 5
    assert set(sample.gt_instances.labels.tolist()) == {364}


@pytest.mark.parametrize('size, epochs', [('s', 40), ('m', 32), ('l', 25)])
@pytest.mark.long
def test_epochs_of_objects365(size, epochs):
    cfg = load(f'pretrain/yolonas_{size}_objects365.py')
    assert cfg.train_cfg.max_epochs == epochs
    warmup, cosine = cfg.param_scheduler
    assert warmup.end == 1000 and cosine.end == cosine.T_max == epochs
    own, coco = (build_meta(load(f'{name}.py')) for name in (
        f'pretrain/yolonas_{size}_objects365', f'yolonas/yolonas_{size}_coco'))
    differing = {key for key, value in coco.state_dict().items()
                 if own.state_dict()[key].shape != value.shape}
    assert all('cls_pred' in key for key in differing) and len(differing) == 6


@pytest.mark.long
def test_pseudo_labels(tmp_path):
    """Labels count fully, pseudo-labels by their score; both are drawn."""
    cfg = load('pretrain/yolonas_s_coco-pseudo.py')
    (tmp_path / 'pseudo').mkdir()
    sets = cfg.train_dataloader.dataset.datasets
    for dataset, folder in zip(sets, (tmp_path, tmp_path / 'pseudo')):
        write_data(folder, CocoDataset.METAINFO['classes'], count=4)
        data = json.loads((folder / 'ann.json').read_text())
        if folder != tmp_path:
            for annotation in data['annotations']:
                annotation['score'] = 0.5
        (folder / 'ann.json').write_text(json.dumps(data))
        dataset.update(data_root=str(folder), ann_file='ann.json', data_prefix=dict(img=''))
        for transform in dataset.pipeline:
            shrink(transform)
    cfg.train_dataloader.update(batch_size=2, num_workers=0, persistent_workers=False,
                                pin_memory=False)
    np.random.seed(0)
    joined = DATASETS.build(cfg.train_dataloader.dataset)
    weights = [set(np.round(joined[index]['data_samples'].gt_instances.weights.tolist(), 3))
               for index in range(len(joined))]
    half = len(joined) // 2
    assert len(joined) == 6  # images without boxes are left out
    assert set.union(*weights[:half]) == {1.0} and set.union(*weights[half:]) == {0.5}
    train_step(cfg)


@pytest.mark.parametrize('size', 'ml')
def test_sizes_on_pseudo_labels(size):
    own, coco = (build_meta(load(f'{name}.py')).state_dict() for name in (
        f'pretrain/yolonas_{size}_coco-pseudo', f'yolonas/yolonas_{size}_coco'))
    assert {k: v.shape for k, v in own.items()} == {k: v.shape for k, v in coco.items()}


def test_coco_configs_average_snapshots():
    for name, metric in (('yolonas/yolonas_s_coco.py', 'coco/bbox_mAP'),
                         ('yolonas_pose/yolonas_pose_n_coco.py', 'coco/AP'),
                         ('yolonas_pose/yolonas_pose_m_coco.py', 'coco/AP')):
        hooks = [hook for hook in Config.fromfile(CONFIGS / name).custom_hooks
                 if hook.type == 'mmyolonas.SnapshotAverageHook']
        assert len(hooks) == 1 and hooks[0].num_best == 10
        assert hooks[0].get('metric', 'coco/bbox_mAP') == metric
