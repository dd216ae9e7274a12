# YOLO-NAS-S on COCO, 8 GPUs x 32 images, 300 epochs.
_base_ = [
    '../_base_/models/yolonas_s.py',
    '../_base_/datasets/coco_detection.py',
    '../_base_/schedules/schedule_300e.py',
    '../_base_/default_runtime.py',
]
