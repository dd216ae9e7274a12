# Key points of generated figures at 96 px, from scratch, some minutes on one CPU core: the
# trunk of the search of pose heads (yolonas_pose_sample_head.py).
#   python -m mmyolonas.datasets.samples.sample_data pose data/search_figures \
#       --size 128 --num-train 256 --num-val 128
#   python tools/train.py configs/search/yolonas_pose_sample.py --work-dir work_dirs/pose_trunk
_base_ = '../yolonas_pose/yolonas_pose_n_sample.py'

data_root = 'data/search_figures/'
input_size = (96, 96)
resize = dict(type='mmyolonas.PoseResizePad', input_size=input_size)
train_dataloader = dict(dataset=dict(
    data_root=data_root,
    pipeline=[*_base_.load, resize, *_base_.augment, *_base_.finish]))
val_dataloader = dict(
    batch_size=32,
    dataset=dict(data_root=data_root, pipeline=[dict(type='LoadImage'), resize,
                                                _base_.pack_test]))
test_dataloader = val_dataloader
ann_file = data_root + 'annotations/person_keypoints_val.json'
val_evaluator = dict(ann_file=ann_file)
test_evaluator = val_evaluator

max_epochs = 10
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
default_hooks = dict(checkpoint=dict(interval=max_epochs, save_best=None))
