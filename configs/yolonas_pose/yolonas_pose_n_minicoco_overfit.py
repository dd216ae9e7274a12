# Can the model learn 30 images of COCO by heart? No augmentation, evaluated on
# the images it is trained on; a check of the whole path, not a recipe.
_base_ = [
    '../_base_/models/yolonas_pose.py',
    '../_base_/datasets/pose_small.py',
    '../_base_/schedules/pose_small.py',
    '../_base_/pose_runtime.py',
]

data_root = 'data/pose_minicoco/'
ann_file = 'annotations/person_keypoints_train2017.json'
data_prefix = dict(img='images/train2017/')
input_size = (256, 256)

# From scratch COCO's sigmas are too narrow to learn from: a joint that is a tenth
# of a person away has no slope. Three times as wide, and assigned by boxes alone;
# the evaluation uses COCO's.
sigmas = [
    0.078, 0.075, 0.075, 0.105, 0.105, 0.237, 0.237, 0.216, 0.216, 0.186,
    0.186, 0.321, 0.321, 0.261, 0.261, 0.267, 0.267
]
model = dict(head=dict(sigmas=sigmas, assigner=dict(use_oks=False)))

resize = dict(type='mmyolonas.PoseResizePad', input_size=input_size)
train_pipeline = [*_base_.load, resize, *_base_.finish]
val_pipeline = [dict(type='LoadImage'), resize, _base_.pack_test]
dataset = dict(data_root=data_root, ann_file=ann_file, data_prefix=data_prefix)
train_dataloader = dict(
    batch_size=6, dataset=dict(pipeline=train_pipeline, **dataset))
val_dataloader = dict(dataset=dict(pipeline=val_pipeline, **dataset))
test_dataloader = val_dataloader
val_evaluator = dict(
    type='CocoMetric',
    ann_file=data_root + ann_file,
    score_mode='bbox',
    nms_mode='none')
test_evaluator = val_evaluator

# 5 steps an epoch
max_epochs = 200
train_cfg = dict(max_epochs=max_epochs, val_interval=25)
param_scheduler = [
    dict(
        type='LinearLR', start_factor=1e-3, by_epoch=False, begin=0, end=100),
    dict(
        type='CosineAnnealingLR',
        begin=0,
        end=max_epochs,
        T_max=max_epochs,
        eta_min_ratio=0.02,
        by_epoch=True,
        convert_to_iter_based=True),
]
default_hooks = dict(checkpoint=dict(interval=25, max_keep_ckpts=1))
