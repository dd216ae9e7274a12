# YOLO-NAS-Pose-N on drawn figures, several in an image, at 128 px. The images that choose (val)
# and those that report (test) are drawn with other seeds:
#   python -m mmyolonas.datasets.samples.sample_data pose data/narrow_figures --size 160
#   python -m mmyolonas.datasets.samples.sample_data pose data/narrow_figures_test \
#       --size 160 --num-train 1 --num-val 200 --seed 1
_base_ = '../../configs/yolonas_pose/yolonas_pose_n_sample.py'

input_size = (128, 128)
data_root = 'data/narrow_figures/'
test_root = 'data/narrow_figures_test/'

train_pipeline = list(_base_.train_pipeline)
train_pipeline[2] = dict(type='mmyolonas.PoseResizePad', input_size=input_size)
val_pipeline = [
    _base_.val_pipeline[0],
    dict(type='mmyolonas.PoseResizePad', input_size=input_size),
    _base_.val_pipeline[2],
]
train_dataloader = dict(dataset=dict(data_root=data_root, pipeline=train_pipeline))
val_dataloader = dict(
    batch_size=20, dataset=dict(data_root=data_root, pipeline=val_pipeline))
test_dataloader = dict(
    batch_size=20, dataset=dict(data_root=test_root, pipeline=val_pipeline))
val_evaluator = dict(
    ann_file=data_root + 'annotations/person_keypoints_val.json')
test_evaluator = dict(
    ann_file=test_root + 'annotations/person_keypoints_val.json')

max_epochs = 16
train_cfg = dict(max_epochs=max_epochs, val_interval=max_epochs)
param_scheduler = [
    _base_.param_scheduler[0],
    dict(
        _base_.param_scheduler[1],
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=0.02),
]
