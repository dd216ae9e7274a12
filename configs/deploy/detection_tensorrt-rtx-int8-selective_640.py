# TensorRT-RTX in 8 bit from a float checkpoint in one call; built without a GPU.
# See detection_tensorrt-int8-selective_640.py for the settings of quantize.
_base_ = './detection_tensorrt-int8-selective_640.py'

backend_config = dict(package='tensorrt_rtx', capability=None)
codebase_config = dict(post_processing=dict(nms_type='none'))
