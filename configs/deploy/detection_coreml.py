# Core ML (pip install coremltools), from a torch.export program. Converted here, run by macOS
# and iOS 16 alone: nothing compares it. fp16: the arithmetic is in 16 bit.
# python: interpreter of the environment that has the converter; None: this one.
_base_ = './detection_onnxruntime_static.py'

codebase_config = dict(post_processing=dict(nms_type='none'))
backend_config = dict(_delete_=True, type='coreml', python=None, fp16=False)
