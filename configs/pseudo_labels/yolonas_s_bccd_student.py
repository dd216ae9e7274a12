# Blood cells: a fifth of the training images with labels, the rest with those of
# the teacher, in the same number of steps and from scratch as well. One image of
# four in each batch is a labelled one; objects of the teacher count by their score,
# and what it was not sure of is ignored.
_base_ = './yolonas_s_bccd_teacher.py'

model = dict(
    bbox_head=dict(instance_weights=True, ignored_regions='class'))

# The same pipeline with weights: other steps at both ends.
load, _, *augment, _ = _base_.train_pipeline
train_pipeline = [
    load,
    dict(type='mmyolonas.LoadWeightedAnnotations', with_bbox=True),
    *augment,
    dict(type='mmyolonas.PackWeightedDetInputs'),
]
common = dict(
    data_root=_base_.data_root,
    data_prefix=dict(img='train/'),
    metainfo=_base_.metainfo,
    filter_cfg=dict(filter_empty_gt=False),
    pipeline=train_pipeline)
batch_size = 4
train_dataloader = dict(
    batch_size=batch_size,
    sampler=dict(
        _delete_=True,
        type='MultiSourceSampler',
        batch_size=batch_size,
        source_ratio=[1, 3]),
    dataset=dict(
        _delete_=True,
        type='ConcatDataset',
        datasets=[
            dict(
                type='mmyolonas.CheckedCocoDataset',
                ann_file='train/labelled.json',
                **common),
            dict(
                type='mmyolonas.PseudoLabelDataset',
                ann_file='train/pseudo.json',
                score_power=1.0,
                **common),
        ]))
