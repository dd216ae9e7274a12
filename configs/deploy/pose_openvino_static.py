# OpenVINO, one image of fixed size at a time. fp16: weights are stored in 16 bit.
_base_ = './_base_/pose.py'

backend_config = dict(type='openvino', fp16=False)
