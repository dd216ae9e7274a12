# OpenVINO, any number of images of fixed size.
_base_ = './pose_openvino_static.py'

onnx_config = dict(
    dynamic_axes=dict(
        input={0: 'batch'},
        dets={0: 'batch'},
        keypoints={0: 'batch'}))
