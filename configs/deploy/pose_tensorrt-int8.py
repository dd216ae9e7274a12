# TensorRT, from an ONNX file with Q/DQ nodes (tools/deploy.py --onnx FILE); what
# they leave is 32 bit, or 16 bit with fp16_mode=True.
_base_ = './pose_tensorrt.py'

backend_config = dict(common_config=dict(int8_mode=True))
