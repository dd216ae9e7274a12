"""Every detection config: it builds, trains a step and is evaluated; and the recipe's numbers."""
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from mmdet.datasets import CocoDataset
from mmengine.config import Config
from mmengine.optim import CosineAnnealingLR, LinearLR, build_optim_wrapper
from mmengine.registry import DATASETS, EVALUATOR, MODELS, DefaultScope
from mmengine.runner import Runner

from tests.tiny import model_config

CONFIGS = Path(__file__).resolve().parent.parent / 'configs'
DETECTION = sorted(p.relative_to(CONFIGS).as_posix() for folder in ('yolonas', 'swap')
                   for p in (CONFIGS / folder).glob('*.py'))
#: Every config with a model.
PADDED = sorted(p.relative_to(CONFIGS).as_posix() for p in CONFIGS.glob('*/*.py')
                if p.parent.name not in ('_base_', 'deploy'))
SIZES = {640: 96, 636: 92, 512: 96, 480: 96, 320: 96, 256: 96, 240: 96, 192: 96}


def load(name):
    """Load a config and make its default scope the current one."""
    cfg = Config.fromfile(CONFIGS / name)
    DefaultScope.get_instance('test_configs', scope_name=cfg.default_scope)
    return cfg


def shrink(node):
    """Replace the image sizes in a pipeline by smaller ones, in place."""
    for key, value in list(node.items()):
        if key in ('scale', 'size', 'img_scale'):
            node[key] = tuple(SIZES[side] for side in value)
        elif key == 'transforms':
            for item in value:
                shrink(item)


def write_data(folder, classes, count=3):
    """Write images with boxes of all classes (the last image has none)."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for index in range(count):
        cv2.imwrite(str(folder / f'{index}.jpg'),
                    rng.integers(0, 255, (60, 80, 3), dtype=np.uint8))
        images.append(dict(id=index, file_name=f'{index}.jpg', width=80, height=60))
        for _ in range(5 if index < count - 1 else 0):
            x, y = rng.integers(0, 40, 2).tolist()
            annotations.append(dict(
                id=len(annotations), image_id=index, bbox=[x, y, 25, 18], iscrowd=0, area=450,
                category_id=1 + len(annotations) % len(classes)))
    categories = [dict(id=i, name=name) for i, name in enumerate(classes, 1)]
    (folder / 'ann.json').write_text(
        json.dumps(dict(images=images, annotations=annotations, categories=categories)))


def use_data(cfg, folder):
    """Point a config at small data and make it small."""
    classes = cfg.train_dataloader.dataset.get('metainfo', CocoDataset.METAINFO)['classes']
    write_data(folder, classes)
    for part in ('train', 'val', 'test'):
        loader = cfg[f'{part}_dataloader']
        loader.update(batch_size=2, num_workers=0, persistent_workers=False, pin_memory=False)
        loader.dataset.update(data_root=str(folder), ann_file='ann.json',
                              data_prefix=dict(img=''))
        for transform in loader.dataset.pipeline:
            shrink(transform)
        if part != 'train':
            cfg[f'{part}_evaluator'].ann_file = str(folder / 'ann.json')
    return cfg


def build_model(cfg):
    model = cfg.model.copy()
    model.backbone.pop('init_cfg', None)  # nothing is downloaded
    return MODELS.build(model)


@pytest.mark.parametrize('name', [name for name in DETECTION if name.startswith('yolonas/')])
def test_trains_and_is_evaluated(name, tmp_path):
    cfg = use_data(load(name), tmp_path)
    torch.manual_seed(0)
    model = build_model(cfg)
    wrapper = build_optim_wrapper(model, dict(
        type='OptimWrapper', optimizer=cfg.optim_wrapper.optimizer,
        paramwise_cfg=cfg.optim_wrapper.paramwise_cfg))
    loader = Runner.build_dataloader(cfg.train_dataloader, seed=0)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    model.train()
    losses = model.train_step(next(iter(loader)), wrapper)
    assert all(torch.isfinite(value).all() for value in losses.values())
    changed = [key for key, value in model.named_parameters() if not value.equal(before[key])]
    assert any(key.startswith('backbone') for key in changed)
    assert any('head' in key for key in changed)

    evaluator = EVALUATOR.build(dict(type='Evaluator', metrics=cfg.test_evaluator))
    loader = Runner.build_dataloader(cfg.test_dataloader, seed=0)
    evaluator.dataset_meta = loader.dataset.metainfo
    model.eval()
    for batch in loader:
        with torch.no_grad():
            evaluator.process(model.test_step(batch), batch)
    metrics = evaluator.evaluate(len(loader.dataset))
    assert 0 <= metrics['coco/bbox_mAP'] <= 1


@pytest.mark.parametrize('name', ['yolonas/yolonas_s_coco.py', 'yolonas/yolonas_s_bccd.py'])
def test_whole_training(name, tmp_path):
    """All keys together (hooks, schedules, checkpoints) with a narrow model."""
    cfg = use_data(load(name), tmp_path)
    narrow = model_config()
    cfg.model.backbone.arch = narrow['backbone']['arch']
    cfg.model.neck.arch = narrow['neck']['arch']
    cfg.model.bbox_head.in_channels = narrow['bbox_head']['in_channels']
    cfg.model.bbox_head.feat_channels = narrow['bbox_head']['feat_channels']
    cfg.train_dataloader.drop_last = False
    cfg.train_cfg.update(max_epochs=2, val_interval=1)
    cfg.work_dir = str(tmp_path / 'run')
    cfg.log_level = 'ERROR'
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert (tmp_path / 'run' / 'epoch_2.pth').exists()
    assert list((tmp_path / 'run').glob('best_coco_bbox_mAP_epoch_*.pth'))


@pytest.mark.parametrize('size,millions', [('s', 12.88), ('m', 33.86), ('l', 44.53)])
def test_sizes(size, millions):
    model = build_model(load(f'yolonas/yolonas_{size}_coco.py'))
    count = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert round(count / 1e6, 2) == millions


class TestRecipe:

    def test_weight_decay(self):
        """None on biases and norms; `alpha` of the residuals is decayed."""
        cfg = load('yolonas/yolonas_s_coco.py')
        model = build_model(cfg)
        wrapper = build_optim_wrapper(model, dict(
            type='OptimWrapper', optimizer=cfg.optim_wrapper.optimizer,
            paramwise_cfg=cfg.optim_wrapper.paramwise_cfg))
        names = {id(p): name for name, p in model.named_parameters()}
        norms = {f'{name}.{key}' for name, module in model.named_modules()
                 if isinstance(module, torch.nn.BatchNorm2d) for key in ('weight', 'bias')}
        seen = 0
        for group in wrapper.optimizer.param_groups:
            for parameter in group['params']:
                name = names[id(parameter)]
                free = name in norms or name.endswith('.bias')
                assert group['weight_decay'] == (0 if free else 1e-5), name
                seen += name.endswith('.alpha')
        assert seen == 20 and type(wrapper.optimizer) is torch.optim.AdamW

    @pytest.mark.parametrize('steps,count', [(458, 3000), (20, 6000)])
    def test_learning_rate(self, steps, count):
        """The first epochs on COCO, and a whole training of shorter epochs."""
        cfg = load('yolonas/yolonas_s_coco.py')
        epochs = cfg.train_cfg.max_epochs
        optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=cfg.base_lr)
        warmup, cosine = (dict(item) for item in cfg.param_scheduler)
        assert warmup.pop('type') == 'LinearLR' and cosine.pop('type') == 'CosineAnnealingLR'
        assert cosine.pop('convert_to_iter_based')
        schedulers = [LinearLR(optimizer, **warmup), CosineAnnealingLR.build_iter_from_epoch(
            optimizer, epoch_length=steps, **cosine)]
        rates = []
        for _ in range(count):
            rates.append(optimizer.param_groups[0]['lr'])
            optimizer.step()
            for scheduler in schedulers:
                scheduler.step()
        rates, total = np.array(rates), steps * epochs
        if steps == 458:
            ramp = np.linspace(1e-6, 2e-4, 1000)
            assert np.allclose(rates[:1000], ramp, rtol=1e-3)
        angle = np.pi * np.arange(1000, count) / total
        cosine = 2e-5 + 0.5 * 1.8e-4 * (1 + np.cos(angle))
        assert np.allclose(rates[1000:], cosine, rtol=1e-3 if steps == 458 else 0.01)
        if count == total:
            assert np.isclose(rates[-1], 2e-5, rtol=1e-3)

    def test_average(self):
        hooks = {hook['type']: hook for hook in load('yolonas/yolonas_s_coco.py').custom_hooks}
        hook = hooks['mmyolonas.ScheduledEMAHook']
        assert hook['decay'] == 0.9997 and hook['schedule'] == 'threshold'

    def test_geometry_of_evaluation(self, tmp_path):
        """A landscape image: 636 and centred; 640 and at the top left."""
        cv2.imwrite(str(tmp_path / '0.jpg'), np.zeros((300, 500, 3), dtype=np.uint8))
        data = dict(images=[dict(id=0, file_name='0.jpg', width=500, height=300)],
                    categories=[dict(id=1, name='cat')])
        (tmp_path / 'ann.json').write_text(json.dumps(data))
        expected = {
            'yolonas_s_coco': (1.272, (129, 129, 2, 2), True),
            'yolonas_s_coco_bottomright': (1.28, None, True),
            'yolonas_s_coco_640-bgr-bottomright': (1.28, None, False)}
        for name, (scale, pad, rgb) in expected.items():
            cfg = load(f'yolonas/{name}.py')
            cfg.test_dataloader.dataset.update(
                data_root=str(tmp_path), ann_file='ann.json', data_prefix=dict(img=''),
                metainfo=dict(classes=('cat', )))
            item = DATASETS.build(cfg.test_dataloader.dataset)[0]
            assert item['inputs'].shape == (3, 640, 640)
            meta = item['data_samples'].metainfo
            assert np.allclose(meta['scale_factor'], scale, atol=2e-3)
            assert (tuple(meta['pad_param']) if 'pad_param' in meta else None) == pad
            top, left = (pad[0], pad[2]) if pad else (0, 0)
            grey = item['inputs'][0] == 114
            height, width = round(300 * scale), round(500 * scale)
            assert not grey[top:top + height, left:left + width].any()
            assert grey.sum() == 640 * 640 - height * width
            assert cfg.model.data_preprocessor.bgr_to_rgb is rgb


@pytest.mark.parametrize('name', PADDED)
def test_batches_are_padded_in_the_grey_of_the_pipelines(name):
    """Images of other shapes in one batch are made equal by the preprocessor."""
    from mmengine.registry import MODELS, init_default_scope
    cfg = load(name)
    init_default_scope(cfg.default_scope)
    model = cfg.model
    model = model.get('model', model)  # of a quantisation-aware training
    preprocessor = model.get('data_preprocessor') or cfg.data_preprocessor
    assert preprocessor.get('pad_value'), name
    pose = 'head' in model
    preprocessor = MODELS.build(preprocessor)
    images = [torch.full((3, 64, 96), 200, dtype=torch.uint8),
              torch.full((3, 96, 64), 200, dtype=torch.uint8)]
    batch = preprocessor(dict(inputs=images, data_samples=[] if pose else None),
                         False)['inputs']
    assert batch.shape == (2, 3, 96, 96)
    added = torch.cat([batch[0, :, 64:].flatten(1), batch[1, :, :, 64:].flatten(1)], 1)
    grey = added * preprocessor.std[:, 0] + preprocessor.mean[:, 0]
    # one number for three channels of different mean, in the config with ImageNet's
    atol = 13 if preprocessor.mean.unique().numel() > 1 else 1e-2
    assert torch.allclose(grey, torch.tensor(127. if pose else 114.), atol=atol)


def test_types_that_host_tools_compare_are_bare():
    """mmdeploy, DetInferencer and others look for these names as they are."""
    bare = {'LoadImageFromFile', 'Resize', 'Pad', 'LoadAnnotations', 'PackDetInputs'}
    for name in DETECTION:
        pipeline = Config.fromfile(CONFIGS / name).test_dataloader.dataset.pipeline
        types = [transform['type'] for transform in pipeline]
        assert types[0] == 'LoadImageFromFile' and types[-1] == 'PackDetInputs'
        assert 'Resize' in types
        assert all('.' not in t or t.startswith('mmyolonas.') for t in types)
        assert not {t.split('.')[-1] for t in types if '.' in t} & bare


def test_no_machine_paths():
    for file in CONFIGS.rglob('*.py'):
        text = file.read_text()
        assert '/work' not in text and '/tmp' not in text and '/home' not in text, file
