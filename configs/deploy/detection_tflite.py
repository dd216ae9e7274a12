# TensorFlow Lite, by onnx2tf: pip install onnx2tf tensorflow-cpu tf_keras onnx_graphsurgeon
# sng4onnx ai-edge-litert. It takes minutes. Channels come last in the file.
# python: interpreter of the environment that has the converter; None: this one.
_base_ = './detection_onnxruntime_static.py'

codebase_config = dict(post_processing=dict(nms_type='none'))
backend_config = dict(_delete_=True, type='tflite', python=None)
