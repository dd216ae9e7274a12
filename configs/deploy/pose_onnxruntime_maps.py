# The maps of each stride; decoding is the reader's. For converters whose 8 bit ruins decoding.
_base_ = './pose_onnxruntime_static.py'

codebase_config = dict(post_processing=dict(nms_type='maps'))
