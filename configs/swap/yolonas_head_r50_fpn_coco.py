# YOLO-NAS's head and assigner on a ResNet-50 with an FPN.
_base_ = [
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_300e.py',
    '../_base_/default_runtime.py',
]

model = dict(
    _scope_='mmdet',
    type='mmyolonas.YOLONAS',
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[123.675, 116.28, 103.53],
        std=[58.395, 57.12, 57.375],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        pad_value=(114 - 116.28) / 57.12),  # grey, normalised as the middle channel is
    backbone=dict(
        type='ResNet',
        depth=50,
        num_stages=4,
        out_indices=(1, 2, 3),
        frozen_stages=1,
        norm_cfg=dict(type='BN', requires_grad=True),
        norm_eval=True,
        style='pytorch',
        init_cfg=dict(type='Pretrained', checkpoint='torchvision://resnet50')),
    neck=dict(
        type='FPN',
        in_channels=[512, 1024, 2048],
        out_channels=256,
        num_outs=3),
    bbox_head=dict(
        type='mmyolonas.YOLONASHead',
        num_classes=80,
        in_channels=(256, 256, 256),
        feat_channels=(128, 128, 128)),
    test_cfg=dict(
        score_thr=0.01,
        nms_pre=1000,
        nms=dict(type='nms', iou_threshold=0.7),
        max_per_img=300))

train_dataloader = dict(batch_size=16)
auto_scale_lr = dict(base_batch_size=8 * 16)
