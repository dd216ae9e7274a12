# TensorRT-RTX, built without a GPU; it has no kernel for suppression, which the
# runtime does. capability: a GPU generation such as 'sm89', None for all.
_base_ = './detection_tensorrt-fp16.py'

backend_config = dict(package='tensorrt_rtx', capability=None)
codebase_config = dict(post_processing=dict(nms_type='none'))
