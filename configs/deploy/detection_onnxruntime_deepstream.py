# DeepStream-Yolo: each prior with its best class; nvinfer's configuration and the labels are
# written beside the file.
_base_ = './detection_onnxruntime_static.py'

codebase_config = dict(post_processing=dict(nms_type='deepstream'))
