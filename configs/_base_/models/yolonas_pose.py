# YOLO-NAS-Pose for 17 key points; sizes override `arch`, batch norm and loss
# weights (reference.md 2.8, reference.md 3.4, reference.md 8.5). The numbers here are those of N.
norm_cfg = dict(type='BN', momentum=0.03, eps=1e-6)

model = dict(
    type='BottomupPoseEstimator',
    # BGR, as the published models were trained
    data_preprocessor=dict(
        type='PoseDataPreprocessor',
        mean=[0, 0, 0],
        std=[255, 255, 255],
        bgr_to_rgb=False,
        pad_size_divisor=32,
        pad_value=127 / 255),  # after the division by 255
    backbone=dict(
        type='mmyolonas.YOLONASBackbone', arch='n', norm_cfg=norm_cfg),
    neck=dict(type='mmyolonas.YOLONASPAN', arch='n', norm_cfg=norm_cfg),
    head=dict(
        type='mmyolonas.YOLONASPoseHead',
        num_keypoints=17,
        arch='n',
        norm_cfg=norm_cfg,
        loss_cls=dict(type='mmyolonas.AlignedFocalLoss', loss_weight=1.0),
        loss_bbox=dict(type='mmyolonas.CIoULoss', loss_weight=2.5),
        loss_dfl=dict(
            type='mmyolonas.DistributionFocalLoss', loss_weight=0.01),
        loss_kpt_score=dict(
            type='mmyolonas.KeypointConfidenceLoss',
            mode='focal',
            loss_weight=1.0),
        loss_kpt=dict(type='mmyolonas.KeypointOKSLoss', loss_weight=34.0),
        assigner=dict(
            type='mmyolonas.PoseTaskAlignedAssigner',
            topk=13,
            alpha=1.0,
            beta=6.0,
            use_oks=True)),
    # the original's training metric (reference.md 5.3); COCO looks at the best 20
    test_cfg=dict(score_thr=0.01, nms_thr=0.7, nms_pre=300, max_per_img=30))
