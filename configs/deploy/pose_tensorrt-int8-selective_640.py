# TensorRT in 8 bit from a float checkpoint in one call of tools/deploy.py:
# calibration, plan, Q/DQ, engine. With plan=None everything but the predictions
# is 8 bit; a plan is made by
#   tools/quantize.py CONFIG CHECKPOINT --method selective
# and ranges=FILE takes its ranges.json instead of calibrating. What stays float
# is 32 bit, or 16 bit with fp16_mode=True.
_base_ = './pose_tensorrt-int8.py'

onnx_config = dict(input_shape=(640, 640))
quantize = dict(
    plan=None,
    ranges=None,
    calib_images=64,
    calib_split='train',
    calib_method='max')
