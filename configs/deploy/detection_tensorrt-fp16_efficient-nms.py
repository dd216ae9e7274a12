# TensorRT in 16 bit with its EfficientNMS plugin.
_base_ = './detection_tensorrt-fp16.py'

codebase_config = dict(post_processing=dict(nms_type='efficient_nms'))
