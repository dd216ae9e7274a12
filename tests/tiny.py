"""A training small enough for tests: a narrow YOLO-NAS on a few drawn images."""
import json
from pathlib import Path

import cv2
import numpy as np

CLASSES = ('square', 'disc')


def write_data(folder: Path, count: int = 6, size: int = 64) -> Path:
    """Write ``count`` images and a COCO annotation file; return the folder."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    images, annotations = [], []
    for index in range(count):
        image = rng.integers(0, 80, (size, size, 3), dtype=np.uint8)
        for label in range(2):
            x, y, side = (int(v) for v in rng.integers(4, size // 2, 3))
            side = max(10, min(side, size - 2 - max(x, y)))
            colour = tuple(int(c) for c in rng.integers(120, 255, 3))
            if label == 0:
                cv2.rectangle(image, (x, y), (x + side, y + side), colour, -1)
            else:
                cv2.circle(image, (x + side // 2, y + side // 2), side // 2, colour, -1)
            annotations.append(
                dict(id=len(annotations) + 1, image_id=index, category_id=label + 1, iscrowd=0,
                     bbox=[x, y, side, side], area=side * side))
        name = f'{index:03d}.png'
        cv2.imwrite(str(folder / name), image)
        images.append(dict(id=index, file_name=name, width=size, height=size))
    categories = [dict(id=i + 1, name=name) for i, name in enumerate(CLASSES)]
    (folder / 'annotations.json').write_text(
        json.dumps(dict(images=images, annotations=annotations, categories=categories)))
    return folder


def model_config(num_classes: int = len(CLASSES)) -> dict:
    """Return the config of a YOLO-NAS with 8 to 32 channels."""
    stage = [dict(out_channels=c, num_blocks=1, hidden_channels=8) for c in (8, 16, 16, 32)]
    neck = [dict(out_channels=c, num_blocks=1, hidden_channels=8) for c in (16, 16, 16, 32)]
    return dict(
        type='mmyolonas.YOLONAS',
        data_preprocessor=dict(
            type='DetDataPreprocessor', mean=[0, 0, 0], std=[255, 255, 255], bgr_to_rgb=True,
            pad_size_divisor=32),
        backbone=dict(
            type='mmyolonas.YOLONASBackbone',
            arch=dict(stem_channels=8, context_channels=32, stages=stage)),
        neck=dict(
            type='mmyolonas.YOLONASPAN', arch=dict(in_channels=(8, 16, 16, 32), stages=neck)),
        bbox_head=dict(
            type='mmyolonas.YOLONASHead', num_classes=num_classes, in_channels=(16, 16, 32),
            feat_channels=(8, 8, 8)),
        test_cfg=dict(
            score_thr=0.01, nms_pre=1000, nms=dict(type='nms', iou_threshold=0.7),
            max_per_img=100))


def config(data: Path, work_dir: Path, epochs: int = 2, workers: int = 0) -> dict:
    """Return the config of a whole training on :func:`write_data`'s folder."""
    load = [dict(type='LoadImageFromFile', backend_args=None),
            dict(type='LoadAnnotations', with_bbox=True)]
    train = [
        *load,
        dict(type='CachedMixUp', img_scale=(64, 64), ratio_range=(1.0, 1.0), max_cached_images=4,
             prob=0.5),
        dict(type='Resize', scale=(64, 64), keep_ratio=True),
        dict(type='YOLOXHSVRandomAug'),
        dict(type='RandomFlip', prob=0.5),
        dict(type='PackDetInputs')
    ]
    test = [
        load[0], dict(type='Resize', scale=(64, 64), keep_ratio=True), load[1],
        dict(type='PackDetInputs',
             meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor'))
    ]

    def loader(pipeline: list, training: bool) -> dict:
        return dict(
            batch_size=2, num_workers=workers if training else 0,
            sampler=dict(type='DefaultSampler', shuffle=training),
            dataset=dict(
                type='CocoDataset', data_root=str(data), ann_file='annotations.json',
                data_prefix=dict(img=''), metainfo=dict(classes=CLASSES), pipeline=pipeline,
                test_mode=not training))

    evaluator = dict(
        type='CocoMetric', ann_file=str(data / 'annotations.json'), metric='bbox')
    return dict(
        default_scope='mmdet', work_dir=str(work_dir), model=model_config(),
        train_dataloader=loader(train, True), val_dataloader=loader(test, False),
        test_dataloader=loader(test, False), val_evaluator=evaluator, test_evaluator=evaluator,
        train_cfg=dict(type='EpochBasedTrainLoop', max_epochs=epochs, val_interval=100),
        val_cfg=dict(type='ValLoop'), test_cfg=dict(type='TestLoop'),
        optim_wrapper=dict(
            type='OptimWrapper', optimizer=dict(type='AdamW', lr=1e-3),
            constructor='mmyolonas.MergedGroupsConstructor'),
        param_scheduler=[dict(type='LinearLR', start_factor=0.01, by_epoch=False, end=4)],
        randomness=dict(seed=0), env_cfg=dict(cudnn_benchmark=False),
        default_hooks=dict(
            logger=dict(type='mmyolonas.ProgressLoggerHook', interval=50),
            checkpoint=dict(type='mmyolonas.AtomicCheckpointHook', interval=1)),
        custom_hooks=[
            dict(type='mmyolonas.ScheduledEMAHook'),
            dict(type='mmyolonas.NonFiniteLossHook'),
            dict(type='mmyolonas.EpochSeedHook'),
            dict(type='mmyolonas.CheckpointMatchHook')
        ],
        visualizer=dict(type='DetLocalVisualizer', vis_backends=[dict(type='LocalVisBackend')]),
        log_processor=dict(type='LogProcessor', window_size=10, by_epoch=True))


def write_config(path: Path, cfg: dict) -> Path:
    """Write a config as a file that the tools read; return its path."""
    path.write_text('\n'.join(f'{key} = {value!r}' for key, value in cfg.items()) + '\n')
    return path
