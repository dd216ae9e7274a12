# ncnn, by pnnx (pip install pnnx ncnn), in 32 bit.
# python: interpreter of the environment that has the converter; None: this one.
_base_ = './detection_onnxruntime_static.py'

codebase_config = dict(post_processing=dict(nms_type='none'))
backend_config = dict(_delete_=True, type='ncnn', python=None, fp16=False)
