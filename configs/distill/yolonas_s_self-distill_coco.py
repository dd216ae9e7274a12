# YOLO-NAS-S that learns from the average of its own weights: no second network
# to train first, and less to learn from.
_base_ = '../yolonas/yolonas_s_coco.py'

custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='mmyolonas.DistillationHook',
        teacher='ema',
        weights=dict(cls=0.5, dfl=0.5),
        # at first the average knows no more than the student
        schedule=dict(begin=50, warmup=50)),
]
