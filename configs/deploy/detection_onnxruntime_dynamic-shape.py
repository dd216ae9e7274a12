# ONNX Runtime, any number of images of any size (multiples of 32).
_base_ = './_base_/detection.py'

backend_config = dict(type='onnxruntime')
onnx_config = dict(
    dynamic_axes=dict(
        input={0: 'batch', 2: 'height', 3: 'width'},
        dets={0: 'batch', 1: 'rows'},
        labels={0: 'batch', 1: 'rows'}))
