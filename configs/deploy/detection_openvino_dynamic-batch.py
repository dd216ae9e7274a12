# OpenVINO, any number of images of fixed size.
_base_ = './detection_openvino_static.py'

onnx_config = dict(
    dynamic_axes=dict(
        input={0: 'batch'},
        dets={0: 'batch'},
        labels={0: 'batch'}))
