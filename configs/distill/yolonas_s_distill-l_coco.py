# YOLO-NAS-S that learns from YOLO-NAS-L while it trains on COCO.
#
# The published accuracy is said to owe something to distillation on class and
# box-distribution logits; how was never described. Terms, weights and schedule
# here are this project's own and have not been run on COCO.
#
#   bash tools/dist_train.sh configs/distill/yolonas_s_distill-l_coco.py 8 \
#       --cfg-options load_from=pseudo_labelled_s.pth
_base_ = '../yolonas/yolonas_s_coco.py'

# Trained with yolonas_l_coco.py, or converted by sg2mm.py.
teacher_checkpoint = 'work_dirs/yolonas_l_coco/average_best.pth'

custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='mmyolonas.DistillationHook',
        teacher=dict(
            config='mmyolonas::yolonas/yolonas_l_coco.py',
            checkpoint=teacher_checkpoint),
        # relative to the weights of the student's own losses (1 and 0.5)
        weights=dict(cls=1.0, dfl=1.0),
        # An untrained student has enough to do with the labels; at the end,
        # where the schedule is at its lowest, they decide again.
        schedule=dict(begin=0, warmup=3, decay='cosine', final=0.25)),
]
