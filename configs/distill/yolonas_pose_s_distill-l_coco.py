# YOLO-NAS-Pose-S that learns from YOLO-NAS-Pose-L: confidences, box
# distributions, key points and how visible they are. Own design, as in
# yolonas_s_distill-l_coco.py, and not run on COCO.
_base_ = '../yolonas_pose/yolonas_pose_s_coco.py'

# Trained with yolonas_pose_l_coco.py, or converted by sg2mm.py.
teacher_checkpoint = 'work_dirs/yolonas_pose_l_coco/average_best.pth'

custom_hooks = [
    *_base_.custom_hooks,
    dict(
        type='mmyolonas.DistillationHook',
        teacher=dict(
            config='mmyolonas::yolonas_pose/yolonas_pose_l_coco.py',
            checkpoint=teacher_checkpoint),
        # relative to the weights of the student's own losses
        weights=dict(cls=1.0, dfl=1.0, kpt=1.0, kpt_score=1.0),
        schedule=dict(begin=0, warmup=10, decay='cosine', final=0.25)),
]
