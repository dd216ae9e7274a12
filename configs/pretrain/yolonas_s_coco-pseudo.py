# YOLO-NAS-S on COCO and the 123,403 images of unlabeled2017 that a larger model
# has labelled:
#
#   python tools/pseudo_label.py configs/yolonas/yolonas_l_coco.py yolonas_l.pth \
#       data/coco/unlabeled2017 --out \
#       data/coco/annotations/pseudo_unlabeled2017.json --precision 0.8 \
#       --labelled data/coco/annotations/instances_val2017.json \
#       --labelled-images data/coco/val2017 --ignore-above 0.1
#
# Objects count by the score they were found with; below their threshold they are
# neither objects nor background, and so are crowds. Published: that pseudo-labels of
# 123,000 COCO images were used, no more. Not run here.
_base_ = '../yolonas/yolonas_s_coco.py'

model = dict(
    bbox_head=dict(instance_weights=True, ignored_regions='class'))

# The pipeline of COCO with weights: other first and last steps.
load, _, *augment, _ = _base_.train_pipeline
train_pipeline = [
    load,
    dict(type='mmyolonas.LoadWeightedAnnotations', with_bbox=True),
    *augment,
    dict(type='mmyolonas.PackWeightedDetInputs'),
]
common = dict(
    data_root=_base_.data_root,
    filter_cfg=dict(filter_empty_gt=True, min_size=0),
    pipeline=train_pipeline,
    backend_args=None)
train_dataloader = dict(
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            dict(
                type='mmyolonas.CheckedCocoDataset',
                ann_file='annotations/instances_train2017.json',
                data_prefix=dict(img='train2017/'),
                **common),
            dict(
                type='mmyolonas.PseudoLabelDataset',
                ann_file='annotations/pseudo_unlabeled2017.json',
                data_prefix=dict(img='unlabeled2017/'),
                score_power=1.0,
                **common),
        ]))

# Half as many epochs of twice as many images.
max_epochs = 150
train_cfg = dict(max_epochs=max_epochs)
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
