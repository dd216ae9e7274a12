# Detection. The thresholds and limits given here win over the model's
# test_cfg; None takes the model's:
#   score_threshold <- test_cfg.score_thr      iou_threshold <- test_cfg.nms.iou_threshold
#   pre_top_k       <- test_cfg.nms_pre        keep_top_k    <- test_cfg.max_per_img
#   class_agnostic  <- test_cfg.nms.class_agnostic
#   multi_label     <- test_cfg.multi_label
# nms_type: 'onnx' (NonMaxSuppression), 'efficient_nms' (TensorRT's plugin) or 'none'.
codebase_config = dict(
    type='mmyolonas',
    module=['mmyolonas.deploy.codebase'],
    task='ObjectDetection',
    model_type='end2end',
    post_processing=dict(
        nms_type='onnx',
        score_threshold=None,
        iou_threshold=None,
        pre_top_k=None,
        keep_top_k=None,
        class_agnostic=None,
        multi_label=None,
        # True: the file takes raw BGR uint8 pixels and normalises them itself
        preprocess_in_graph=False,
        # read by mmdeploy's own rewriters
        max_output_boxes_per_class=300,
        background_label_id=-1))
onnx_config = dict(
    type='onnx',
    export_params=True,
    keep_initializers_as_inputs=False,
    opset_version=17,
    save_file='end2end.onnx',
    input_names=['input'],
    output_names=['dets', 'labels'],
    # (width, height); None: what the test pipeline gives
    input_shape=None,
    optimize=False)
