# Pose. As for detection; nms_type is 'onnx' or 'none', since the EfficientNMS
# plugin returns no indices to pick the key points with.
codebase_config = dict(
    type='mmyolonas',
    module=['mmyolonas.deploy.codebase'],
    task='PoseDetection',
    model_type='end2end',
    post_processing=dict(
        nms_type='onnx',
        score_threshold=None,
        iou_threshold=None,
        pre_top_k=None,
        keep_top_k=None,
        preprocess_in_graph=False))
onnx_config = dict(
    type='onnx',
    export_params=True,
    keep_initializers_as_inputs=False,
    opset_version=17,
    save_file='end2end.onnx',
    input_names=['input'],
    output_names=['dets', 'keypoints'],
    input_shape=None,
    optimize=False)
