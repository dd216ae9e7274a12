# SuperGradients' flat format, read by Frigate: raw BGR uint8 in, one table of rows out.
_base_ = './pose_onnxruntime_static.py'

codebase_config = dict(post_processing=dict(nms_type='flat'))
