# Blood cells at the images' own size: goes on from yolonas_s_bccd.py's weights
# for a fifth of its epochs. Most of the steps are cheap that way, and the few
# at full size are what the 8-bit measurements at 640 px stand on.
_base_ = './yolonas_s_bccd.py'

load_from = 'work_dirs/yolonas_s_bccd/epoch_30.pth'

# Trained on 640 x 512; a deployed network is a square of 640.
train_pipeline = _base_.train_pipeline
train_pipeline[2].update(img_scale=(640, 480))
train_pipeline[5].update(size=(640, 512))
test_pipeline = _base_.test_pipeline
test_pipeline[1].update(scale=(640, 480))
test_pipeline[2].update(size=(640, 640))

train_dataloader = dict(dataset=dict(pipeline=train_pipeline))
val_dataloader = dict(batch_size=1, dataset=dict(pipeline=test_pipeline))
test_dataloader = dict(batch_size=1, dataset=dict(pipeline=test_pipeline))

max_epochs = 6
train_cfg = dict(max_epochs=max_epochs, val_interval=2)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-2, by_epoch=False, begin=0, end=50),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=0.02,
        by_epoch=True,
        convert_to_iter_based=True),
]
optim_wrapper = dict(optimizer=dict(lr=3e-4))
