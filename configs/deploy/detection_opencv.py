# OpenCV's dnn module, on the ONNX file: without suppression (OpenCV 5 does it wrongly from the
# second frame on) and of fixed shape (OpenCV 4 reads no other).
_base_ = './detection_onnxruntime_static.py'

codebase_config = dict(post_processing=dict(nms_type='none'))
backend_config = dict(_delete_=True, type='opencv', python=None)
