# For checkpoints fine-tuned with SuperGradients' Roboflow-100 recipe or its
# fine-tuning notebook: they see BGR, longest side 640, padding at the right and
# the bottom. Set the number and the names of the classes as in
# yolonas_s_custom_coco.py, or take what sg2mm.py writes.
_base_ = './yolonas_s_coco_bottomright.py'

model = dict(data_preprocessor=dict(bgr_to_rgb=False))
