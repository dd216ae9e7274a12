# ONNX Runtime, one image of fixed size at a time.
_base_ = './_base_/detection.py'

backend_config = dict(type='onnxruntime')
