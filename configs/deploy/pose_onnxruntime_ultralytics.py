# What Ultralytics' loaders read: images -> output0, with their properties.
_base_ = './pose_onnxruntime_static.py'

codebase_config = dict(post_processing=dict(nms_type='ultralytics'))
