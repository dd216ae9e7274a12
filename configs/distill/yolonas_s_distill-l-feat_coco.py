# As yolonas_s_distill-l_coco.py, and the feature maps in front of the head learn
# to correlate with the teacher's, through 1x1 convolutions that are trained with
# the student and not used afterwards.
_base_ = './yolonas_s_distill-l_coco.py'

# P3, P4, P5 of S, M and L have the same channels.
channels = (96, 192, 384)
model = dict(
    bbox_head=dict(
        feature_adapters=dict(
            type='mmyolonas.FeatureAdapters',
            in_channels=channels,
            out_channels=channels)))

*others, distillation = _base_.custom_hooks
custom_hooks = [
    *others,
    {
        **distillation, 'weights': dict(cls=1.0, dfl=1.0, feat=1.0)
    },
]
