# TensorRT 8.6, 10 or 11 in 32 bit, batches of 1 to 8.
# package: 'tensorrt' or 'tensorrt_rtx'. The shapes follow the input size where
# only the batch is given.
_base_ = './_base_/detection.py'

backend_config = dict(
    type='tensorrt',
    package='tensorrt',
    common_config=dict(fp16_mode=False, int8_mode=False, max_workspace_size=0),
    batch=dict(min=1, opt=1, max=8))
onnx_config = dict(
    dynamic_axes=dict(
        input={0: 'batch'},
        dets={0: 'batch'},
        labels={0: 'batch'}))
