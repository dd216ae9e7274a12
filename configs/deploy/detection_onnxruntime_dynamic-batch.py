# ONNX Runtime, any number of images of fixed size.
_base_ = './_base_/detection.py'

backend_config = dict(type='onnxruntime')
onnx_config = dict(
    dynamic_axes=dict(
        input={0: 'batch'},
        dets={0: 'batch'},
        labels={0: 'batch'}))
