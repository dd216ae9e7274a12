# YOLO-NAS-S for the 80 classes of COCO; M and L override `arch` and the
# channels of the head.
model = dict(
    type='mmyolonas.YOLONAS',
    # RGB within [0, 1], no mean and deviation. The pipelines pad with grey to
    # a multiple of 32; what is still missing (images of other shapes in one batch)
    # the preprocessor adds in the same grey, after it has divided by 255.
    data_preprocessor=dict(
        type='DetDataPreprocessor',
        mean=[0, 0, 0],
        std=[255, 255, 255],
        bgr_to_rgb=True,
        pad_size_divisor=32,
        pad_value=114 / 255),
    backbone=dict(type='mmyolonas.YOLONASBackbone', arch='s'),
    neck=dict(type='mmyolonas.YOLONASPAN', arch='s'),
    bbox_head=dict(
        type='mmyolonas.YOLONASHead',
        num_classes=80,
        in_channels=(96, 192, 384),
        feat_channels=(64, 128, 256)),
    # The settings behind the published mAP of 47.5 / 51.55 / 52.22 (S / M / L).
    # The recipe's own validation has score_thr=0.01 and iou_threshold=0.7;
    # its `predict` 0.25 and 0.7; the demos here take 0.25 and this iou_threshold.
    # Boxes are clipped to the image before suppression, the original never clips
    # (reference.md 5.1, 16.3).
    test_cfg=dict(
        score_thr=0.03,
        nms_pre=1000,
        nms=dict(type='nms', iou_threshold=0.65),
        max_per_img=300))
