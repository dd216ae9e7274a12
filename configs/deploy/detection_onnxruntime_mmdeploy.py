# The base line: mmdeploy's own code base and rewriters for mmdet. The model's
# test_cfg wins over the thresholds here, and nothing describes the file.
_base_ = './_base_/detection.py'

backend_config = dict(type='onnxruntime')
codebase_config = dict(
    type='mmdet',
    module=['mmyolonas'],
    post_processing=dict(
        score_threshold=0.05,
        confidence_threshold=0.005,
        iou_threshold=0.7,
        pre_top_k=1000,
        keep_top_k=300))
