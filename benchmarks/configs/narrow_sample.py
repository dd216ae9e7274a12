# YOLO-NAS-S of half the width on drawn shapes of 96 px: long trainings in minutes. The images
# that choose (val) and those that report (test) are drawn with other seeds:
#   python -m mmyolonas.datasets.samples.sample_data detection data/narrow_shapes \
#       --size 128 --num-train 480 --num-val 100
#   python -m mmyolonas.datasets.samples.sample_data detection data/narrow_shapes_test \
#       --size 128 --num-train 1 --num-val 200 --seed 1
_base_ = '../../configs/yolonas/yolonas_s_sample.py'

img_scale = (96, 96)
data_root = 'data/narrow_shapes/'
test_root = 'data/narrow_shapes_test/'

model = dict(
    backbone=dict(
        arch=dict(
            _delete_=True,
            stem_channels=24,
            context_channels=384,
            stages=[
                dict(out_channels=48, num_blocks=2, hidden_channels=16),
                dict(out_channels=96, num_blocks=3, hidden_channels=32),
                dict(out_channels=192, num_blocks=5, hidden_channels=48),
                dict(out_channels=384, num_blocks=2, hidden_channels=96),
            ])),
    neck=dict(
        arch=dict(
            _delete_=True,
            in_channels=(48, 96, 192, 384),
            stages=[
                dict(out_channels=96, num_blocks=2, hidden_channels=32),
                dict(out_channels=48, num_blocks=2, hidden_channels=24),
                dict(out_channels=96, num_blocks=2, hidden_channels=32),
                dict(out_channels=192, num_blocks=2, hidden_channels=32),
            ])),
    bbox_head=dict(in_channels=(48, 96, 192), feat_channels=(32, 64, 128)))

pad = dict(type='Pad', size=img_scale, pad_val=_base_.pad_val)
train_pipeline = [
    *_base_.train_pipeline[:2],
    dict(
        type='mmyolonas.YOLONASRandomAffine',
        img_scale=img_scale,
        max_translate_ratio=0.1,
        scaling_ratio_range=(0.8, 1.25),
        flip_prob=0.5),
    _base_.train_pipeline[3],
    pad,
    dict(type='PackDetInputs'),
]
test_pipeline = [
    dict(type='LoadImageFromFile', backend_args=None),
    dict(type='Resize', scale=img_scale, keep_ratio=True),
    pad,
    *_base_.test_pipeline[3:],
]

train_dataloader = dict(
    batch_size=8, dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=20, dataset=dict(data_root=data_root, pipeline=test_pipeline))
test_dataloader = dict(
    batch_size=20, dataset=dict(data_root=test_root, pipeline=test_pipeline))
val_evaluator = dict(
    ann_file=data_root + 'annotations/instances_val.json', classwise=False)
test_evaluator = dict(
    ann_file=test_root + 'annotations/instances_val.json', classwise=False)

max_epochs = 40
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=0.02,
        by_epoch=True,
        convert_to_iter_based=True),
]
optim_wrapper = dict(optimizer=dict(lr=2e-3))
default_hooks = dict(checkpoint=dict(save_best=None))
