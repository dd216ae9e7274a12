# TensorRT, the network in 16 bit, decoding and suppression in 32.
_base_ = './pose_tensorrt.py'

backend_config = dict(common_config=dict(fp16_mode=True))
