# ONNX Runtime, decoded boxes of every prior; suppression is the consumer's.
_base_ = './pose_onnxruntime_dynamic-batch.py'

codebase_config = dict(post_processing=dict(nms_type='none'))
