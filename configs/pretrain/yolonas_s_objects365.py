# Pre-training of YOLO-NAS-S on Objects365, 8 GPUs x 32 images.
#
# Published: 25 to 40 epochs "depending on the variant", no more. Here the
# smallest trains longest, as it needs to and can afford to; everything else is
# the COCO recipe. Not run here.
_base_ = [
    '../_base_/models/yolonas_s.py',
    '../_base_/datasets/objects365v2_detection.py',
    '../_base_/schedules/schedule_300e.py',
    '../_base_/default_runtime.py',
]

model = dict(bbox_head=dict(num_classes=365))

max_epochs = 40
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
param_scheduler = [
    _base_.warmup,
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=0.1,
        by_epoch=True,
        convert_to_iter_based=True),
]
