"""Settings follow from data and machine; the config that is written says them."""
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmyolonas.datasets import DataError
from mmyolonas.datasets.formats.coco_split import CocoSplit, data_classes
from mmyolonas.datasets.formats.layouts import read_layout
from mmyolonas.datasets.inspection.box_table import box_table
from mmyolonas.datasets.inspection.upright import Uprightness, uprightness
from mmyolonas.utils.building import build_model
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.memory import available_memory, saved_bytes_per_pixel, training_memory
from mmyolonas.workflows.finetune.finetune_config import base_model, write_config
from mmyolonas.workflows.finetune.finetune_settings import FinetuneOptions, choose_settings
from mmyolonas.workflows.finetune.start_weights import StartWeights, read_start
from tests import tiny
from tests.conftest import ROOT


def make_report(images=205, size=(640, 480), side=60., classes=('a1', 'b1', 'c1')):
    """Return what the rules read of a report on data."""
    rng = np.random.default_rng(0)
    corners = rng.uniform(0, np.array(size) - side, (images, 2))
    part = SimpleNamespace(
        scanned=[None] * images, bad_images=[],
        sizes=np.tile(np.array(size, float), (images, 1)),
        table=SimpleNamespace(boxes=np.hstack([corners, corners + side]),
                              images=np.arange(images), labels=np.arange(images) % len(classes)))
    return SimpleNamespace(splits=dict(train=part), classes=classes,
                           upright=Uprightness(images, 1.1, 1.0))


def choose(report=None, gpu=False, max_pixels=None, **options):
    return choose_settings(report or make_report(), FinetuneOptions(**options), max_pixels, gpu, 2)


def write(tmp_path, settings, classes=('a1', 'b1', 'c1'), parts=('train', 'val'), known=None):
    """Write the config of some settings and read it."""
    data = dict(images=[], annotations=[],
                categories=[dict(name=name) for name in known or classes])
    splits = {name: CocoSplit(name, tmp_path / f'{name} bilder', data, tmp_path / f'{name} ä.json')
              for name in parts}
    path = tmp_path / 'config.py'
    write_config(path, classes, splits, settings)
    return Config.fromfile(path)


def plain(value):
    """Return nested plain values without types' differing order."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, (list, tuple)) else value


def test_blood_cells_get_their_config(tmp_path):
    """On data like BCCD the choices are those of its config."""
    cfg = write(tmp_path, choose(), ('Platelets', 'RBC', 'WBC'), ('train', 'val', 'test'))
    expected = Config.fromfile(ROOT / 'configs' / 'yolonas' / 'yolonas_s_bccd.py')
    for item in (cfg, expected):
        for part in ('train', 'val', 'test'):
            dataset = item[f'{part}_dataloader'].dataset
            for key in ('data_root', 'ann_file', 'data_prefix', 'metainfo', 'strict'):
                dataset.pop(key, None)
            if part != 'train':
                evaluator = item[f'{part}_evaluator']
                evaluator.pop('ann_file')
                evaluator.pop('strict', None)
    for key in ('model', 'train_dataloader', 'val_dataloader', 'test_dataloader', 'val_evaluator',
                'test_evaluator', 'train_cfg', 'param_scheduler', 'optim_wrapper',
                'default_hooks', 'custom_hooks', 'randomness', 'default_scope', 'auto_scale_lr'):
        assert plain(cfg[key]) == plain(expected[key]), key


def test_sizes():
    assert choose().fit_scale == (320, 240) and choose().img_scale == (320, 256)
    assert choose(gpu=True).fit_scale == (640, 480)
    assert choose(make_report(side=10.5)).fit_scale == (512, 384)  # 8 pixels at 488
    assert choose(make_report(side=4)).fit_scale == (640, 480)
    assert choose(make_report(side=4), gpu=True).fit_scale == (640, 480)  # that of the images
    assert choose(make_report(size=(1200, 2400))).img_scale == (160, 320)
    assert choose(make_report(size=(100, 100))).img_scale == (128, 128)
    assert choose(imgsz=100).fit_scale == (100, 75) and choose(imgsz=100).img_scale == (128, 96)
    mixed = make_report()
    mixed.splits['train'].sizes[::2] = (480, 640)
    assert choose(mixed).fit_scale == (320, 320)


def test_batch_rate_and_schedule():
    tiny_set = choose(make_report(images=12))
    assert tiny_set.repeat == 17 and tiny_set.steps == 30 * 51 and tiny_set.warmup_steps == 100
    assert tiny_set.ema_decay == 0.99
    large = choose(make_report(images=4000))
    assert (large.batch_size, large.repeat, large.steps) == (16, 1, 30 * 250)
    assert large.lr == 1.6e-3 and large.ema_decay == 0.999 and large.warmup_steps == 500
    pixels = 320 * 256
    assert choose(make_report(images=4000), max_pixels=5 * pixels).batch_size == 4
    assert choose(max_pixels=0).batch_size == 1
    assert any('do not fit' in text for text in choose(max_pixels=0).reasons)
    tuned = choose(pretrained='s.pth', model='m', batch=16)
    assert tuned.lr == 4e-4 and tuned.weight_decay == 1e-4
    assert choose(epochs=7).val_interval == 1 and choose(epochs=1).warmup_steps >= 1


def test_mirroring():
    """Upside down only where nothing speaks against it."""
    assert choose().flip == 'both'
    assert choose(make_report(images=50)).flip == 'horizontal'  # too few to tell
    assert choose(make_report(classes=('turn left', 'stop'))).flip == 'none'
    assert choose(make_report(classes=('1', '2', 'x'))).flip == 'none'
    assert choose(flip='horizontal').flip == 'horizontal'
    named = choose(make_report(classes=('scratch', 'Raccoons')))
    assert named.flip == 'horizontal'
    assert any("'Raccoons' has a top" in text and '--flip both' in text for text in named.reasons)
    standing = make_report()
    standing.upright = Uprightness(205, 20.0, 2.0)
    assert choose(standing).flip == 'horizontal'
    lit = make_report()
    lit.upright = Uprightness(205, 20.0, 18.0)  # a lamp, in both directions
    assert choose(lit).flip == 'both'
    low = make_report()
    low.splits['train'].table.boxes[:, 1::2] += 45  # a third of their deviation
    assert choose(low).flip == 'horizontal'


def read_report(folder):
    """Return what the rules read of a real data set."""
    splits = read_layout(folder).splits
    classes = data_classes(splits.values())
    parts = {part: SimpleNamespace(
        scanned=[SimpleNamespace(path=path, problem=None) for path in split.paths],
        bad_images=[], table=box_table(split, classes),
        sizes=np.array([(i['width'], i['height']) for i in split.data['images']], float))
        for part, split in splits.items()}
    return SimpleNamespace(splits=parts, classes=classes, upright=uprightness(parts['train']))


def test_real_data(data_root):
    """The cells get the recipe of their config; photographs are not turned upside down."""
    chosen = {name: choose(read_report(data_root / name)) for name in ('bccd', 'deeppcb')}
    cells = chosen['bccd']
    assert (cells.flip, cells.fit_scale, cells.steps) == ('both', (320, 240), 1530)
    assert (cells.mix, cells.balance, cells.patience) == ('none', 0, 0)
    assert chosen['deeppcb'].flip == 'both'
    photographs = read_report(data_root / 'tinycoco')
    photographs.classes = tuple(f'thing {i}' for i in range(len(photographs.classes)))
    assert photographs.upright.ratio > 2 and choose(photographs).flip == 'horizontal'


def test_rate_by_what_the_weights_learnt(tmp_path):
    """Ten thousand drawn images are no COCO; what is not known is taken for COCO."""
    text = "train_dataloader = dict(batch_size=8, dataset=dict(type='A'))"

    def rate(**meta):
        torch.save(dict(meta=meta, state_dict=dict(a=torch.ones(1))), tmp_path / 'a.pth')
        start = read_start(str(tmp_path / 'a.pth'))
        settings = choose_settings(make_report(), FinetuneOptions(pretrained='a.pth'), None, False,
                                   2, start)
        assert any(text == start.describe() + ' (--lr)' for text in settings.reasons)
        return settings.lr

    assert rate(iter=1250, cfg=text) == 8e-4  # as from scratch
    assert rate(iter=1250, cfg='import os') == rate(cfg=text) == rate() == 2.5e-4
    assert rate(iter=10**6, cfg=text) == 2.5e-4
    assert 2.5e-4 < rate(iter=80000, cfg=text) < 8e-4
    assert rate(iter=-5, cfg=text) == rate(iter=5.5, cfg=text) == 2.5e-4
    assert 'shown 10,000 images' in StartWeights('a', 1e4).describe()


def test_rare_classes():
    """Images of a class that few images have are shown more often, as mmengine counts it."""
    report = make_report(images=400)
    labels = report.splits['train'].table.labels
    labels[:] = 0
    labels[:16], labels[16:18] = 1, 2
    settings = choose(report)
    assert settings.balance == 0.1
    # 16 of 400 are in 0.04: sqrt(2.5) times, rounded up; 2 in 0.005: sqrt(20) times
    assert settings.steps == (382 + 16 * 2 + 2 * 5) // 4 * 30
    assert any("'b1 (in 16 images)'" in text for text in settings.reasons)
    assert choose(report, balance='off').balance == 0
    assert choose(balance='on').balance == 0.1 and choose().balance == 0


def test_long_trainings_end_early_and_close_their_mosaics():
    long = choose(epochs=200, mix='mosaic')
    assert (long.val_interval, long.patience, long.closed) == (22, 3, 24)
    assert choose(epochs=50).patience == 0 and choose(epochs=200, patience=0).patience == 0
    short = choose(epochs=12, patience=5, mix='both')
    assert (short.val_interval, short.patience, short.closed) == (1, 5, 1)
    assert choose(epochs=1, mix='mosaic').closed == 0
    few = make_report(images=8000)
    assert choose(few, epochs=50).mix == 'mosaic' and choose(few, epochs=5).mix == 'none'
    few.splits['train'].scanned = [None] * 800
    few.splits['train'].table.images %= 800
    assert choose(few, epochs=500).mix == 'none'  # ten objects each


def test_processes_share_a_step():
    one, four = choose(batch=16), choose_settings(
        make_report(), FinetuneOptions(batch=16), None, True, 2, processes=4)
    assert (one.batch_size, four.batch_size, four.processes) == (16, 4, 4)
    assert one.lr == four.lr and one.steps == four.steps
    assert choose_settings(make_report(), FinetuneOptions(), None, True, 2,
                           processes=8).batch_size == 1


def test_config_of_other_choices(tmp_path):
    settings = choose(make_report(images=12), epochs=7, model='l', flip='none', pretrained='a.pth')
    cfg = write(tmp_path, settings, tuple(f'class "{i}"' for i in range(30)), known=('class "1"', ))
    assert len(cfg.classes) == 30 and cfg.model.bbox_head.num_classes == 30
    assert cfg.model.backbone.arch == 'l' and cfg.load_from == 'a.pth'
    assert cfg.model.bbox_head.feat_channels == (128, 256, 512)
    dataset = cfg.train_dataloader.dataset
    assert dataset.type == 'RepeatDataset' and dataset.times == 17
    assert dataset.dataset.ann_file == str(tmp_path / 'train ä.json')
    assert not dataset.dataset.strict and not cfg.val_evaluator.strict
    assert dataset.dataset.pipeline[2].flip_prob == 0 and len(dataset.dataset.pipeline) == 6
    assert cfg.train_cfg.val_interval == 1
    assert cfg.test_dataloader == cfg.val_dataloader
    assert write(tmp_path, choose(epochs=31)).train_cfg.dynamic_intervals == [(31, 1)]
    slow = write(tmp_path, choose(make_report(images=4000))).custom_hooks
    assert slow[0].decay == 0.999 and len(slow) == 5


def test_config_of_every_choice(tmp_path):
    """What was chosen is in the config, and its data can be built from it."""
    options = dict(mix='both', balance='on', multi_scale=True, freeze=2, head_lr=3.0, epochs=60,
                   pretrained='a.pth', model='m')
    settings = choose_settings(make_report(images=12), FinetuneOptions(**options), None, True, 2,
                               processes=2)
    cfg = write(tmp_path, settings)
    assert cfg.model.backbone.frozen_stages == 2 and cfg.model.backbone.arch == 'm'
    assert cfg.model.data_preprocessor.batch_augments[0].type == 'mmyolonas.BatchRandomResize'
    assert cfg.model.data_preprocessor.std == [255, 255, 255]
    assert cfg.optim_wrapper.paramwise_cfg.custom_keys.bbox_head.lr_mult == 3
    assert cfg.optim_wrapper.paramwise_cfg.norm_decay_mult == 0
    dataset = cfg.train_dataloader.dataset
    assert (dataset.type, dataset.dataset.type) == ('RepeatDataset', 'ClassBalancedDataset')
    assert cfg.sync_bn == 'torch' and cfg.auto_scale_lr.base_batch_size == 4
    ema, *_, close, patience = cfg.custom_hooks
    assert ema.decay == 0.99 and close.epochs == 7 and patience.patience == 4
    assert close.pipeline[2].type == 'mmyolonas.YOLONASRandomAffine'
    assert cfg.train_dataloader.dataset.dataset.dataset.pipeline[2].type == 'RandomChoice'
    model = build_model(Config(dict(model=cfg.model, default_scope='mmdet')))
    assert not any(p.requires_grad for p in model.backbone.stage2.parameters())
    assert all(p.requires_grad for p in model.backbone.stage3.parameters())


def test_model_files(tmp_path):
    path = tiny.write_config(tmp_path / 'narrow.py', dict(model=tiny.model_config()))
    settings = choose(model=str(path))
    cfg = write(tmp_path, settings)
    assert cfg.model.bbox_head.feat_channels == (8, 8, 8)
    assert cfg.model.bbox_head.num_classes == 3
    assert base_model(str(path)).default_scope == 'mmdet'
    path.write_text('model = dict(bbox_head=1)\nlr = 3')
    with pytest.raises(UserError, match='nothing else; it defines model, lr'):
        base_model(str(path))


def test_memory():
    """What a step saves grows with the pixels, and counts what autograd really holds."""
    model = build_model(Config(dict(model=tiny.model_config(), default_scope='mmdet')))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    small, large = (saved_bytes_per_pixel(model, size) for size in (64, 256))
    assert small == pytest.approx(large, rel=0.1) and 100 < large < 2000
    assert all(value.equal(before[key]) for key, value in model.state_dict().items())
    weights = sum(p.numel() * 4 for p in model.parameters())
    assert training_memory(model, 0) == 5 * weights
    assert training_memory(model, 10**6, 100.) > 10**8
    assert available_memory() > 10**8

    layer = torch_chain()
    assert saved_bytes_per_pixel(layer, 32) == pytest.approx(3 * 4 + 2 * 4, rel=0.01)


def torch_chain():
    """Return a convolution and a ReLU: saved are input (3 values) and output (2)."""
    from torch import nn
    model = nn.Module()
    model.conv = nn.Conv2d(3, 2, 1)
    model.extract_feat = lambda x: model.conv(x).relu()
    model.bbox_head = lambda x: x
    return model


def test_no_readable_image():
    report = make_report(images=3)
    report.splits['train'].bad_images = ['a', 'b', 'c']
    with pytest.raises(DataError, match='none of the training images can be read'):
        choose(report)
