# ONNX Runtime, any number of images of fixed size.
_base_ = './_base_/pose.py'

backend_config = dict(type='onnxruntime')
onnx_config = dict(
    dynamic_axes=dict(
        input={0: 'batch'},
        dets={0: 'batch'},
        keypoints={0: 'batch'}))
