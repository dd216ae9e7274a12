"""Description of a model from its config and the deploy config."""
from typing import Any, Dict, List, Optional, Sequence, Tuple

from mmyolonas.export.metadata import ModelMetadata, Postprocess, Preprocess
from mmyolonas.version import __version__

# transforms that leave the pixels of a test image as they are
HARMLESS = ('LoadImageFromFile', 'LoadImageFromNDArray', 'LoadImage', 'LoadAnnotations',
            'PackDetInputs', 'PackPoseInputs', 'PoseSanitize', 'PosePackLabels',
            'GetBBoxCenterScale')


def metadata_from_config(model_cfg: Any, deploy_cfg: Optional[Any] = None) -> ModelMetadata:
    """Describe a model.

    The thresholds and limits of the deploy config's ``post_processing`` win
    over the model's ``test_cfg``; None or a missing entry there takes the
    model's.

    Args:
        model_cfg (Config): Model config with its test pipeline.
        deploy_cfg (Config, optional): Deploy config.

    Returns:
        ModelMetadata: Description.

    Raises:
        ValueError: The test pipeline has a step that the description cannot
            express.
    """
    network = network_config(model_cfg)
    is_pose = 'head' in network
    post: Dict[str, Any] = {}
    if deploy_cfg is not None:
        post = deploy_cfg.get('codebase_config', {}).get('post_processing') or {}
    preprocess = pipeline_preprocess(test_pipeline(model_cfg), data_preprocessor(model_cfg))
    preprocess.in_graph = bool(post.get('preprocess_in_graph', False))
    info = _keypoint_info(model_cfg) if is_pose else {}
    input_size = preprocess.pad_size or preprocess.resize_size
    return ModelMetadata(
        task='pose' if is_pose else 'detection',
        class_names=['person'] if is_pose and not info.get('classes') else
        list(info.get('classes') or class_names(model_cfg)),
        input_size=list(input_size) if input_size else None,
        preprocess=preprocess,
        postprocess=merge_postprocess(post, network.get('test_cfg') or {}, is_pose),
        keypoint_names=info.get('names', []),
        skeleton=info.get('skeleton', []),
        keypoint_sigmas=info.get('sigmas', []),
        model=str(model_cfg.get('filename', '') or '').rsplit('/', 1)[-1],
        mmyolonas_version=__version__)


def network_config(model_cfg: Any) -> Any:
    """Return the config of the network itself, also within that of its fake-quantised form."""
    found = model_cfg.model
    while 'backbone' not in found and 'model' in found:
        found = found.model
    return found


def test_pipeline(model_cfg: Any) -> List[dict]:
    """Return the transforms of a test image."""
    if model_cfg.get('test_pipeline') is not None:
        return list(model_cfg.test_pipeline)
    dataset = model_cfg.test_dataloader.dataset
    while 'pipeline' not in dataset and 'dataset' in dataset:
        dataset = dataset.dataset
    return list(dataset.pipeline)


def data_preprocessor(model_cfg: Any) -> dict:
    """Return the config of the data preprocessor."""
    return dict(network_config(model_cfg).get('data_preprocessor')
                or model_cfg.get('data_preprocessor') or {})


def merge_postprocess(post: dict, test_cfg: dict, is_pose: bool) -> Postprocess:
    """Merge deploy settings and the model's; the former win where they are given."""
    nms = test_cfg.get('nms') or {}
    defaults = Postprocess()
    iou = test_cfg.get('nms_thr') if is_pose else nms.get('iou_threshold')

    def first(*values: Any) -> Any:
        return next(value for value in values if value is not None)

    rules = Postprocess(
        nms=first(post.get('nms_type'), 'onnx'),
        score_threshold=float(first(post.get('score_threshold'), test_cfg.get('score_thr'),
                                    defaults.score_threshold)),
        iou_threshold=float(first(post.get('iou_threshold'), iou, defaults.iou_threshold)),
        pre_top_k=int(first(post.get('pre_top_k'), test_cfg.get('nms_pre'),
                            defaults.pre_top_k)),
        max_detections=int(first(post.get('keep_top_k'), test_cfg.get('max_per_img'),
                                 defaults.max_detections)),
        class_agnostic=bool(first(post.get('class_agnostic'), nms.get('class_agnostic'), False)),
        multi_label=bool(first(post.get('multi_label'), test_cfg.get('multi_label'), True)),
        clip=not is_pose)
    if not 0 <= rules.score_threshold < 1 or not 0 < rules.iou_threshold <= 1:
        raise ValueError(
            f'score_threshold must lie in [0, 1) and iou_threshold in (0, 1], got '
            f'{rules.score_threshold} and {rules.iou_threshold}.')
    if rules.pre_top_k < 1 or rules.max_detections < 1:
        raise ValueError(f'pre_top_k and keep_top_k must be at least 1, got {rules.pre_top_k} '
                         f'and {rules.max_detections}.')
    return rules


def pipeline_preprocess(pipeline: Sequence[dict], normalise: dict) -> Preprocess:
    """Express a test pipeline and a data preprocessor as one description.

    Args:
        pipeline (Sequence[dict]): Transforms.
        normalise (dict): Data preprocessor with ``mean``, ``std``,
            ``bgr_to_rgb``, ``pad_size_divisor`` and ``pad_value``.

    Raises:
        ValueError: A transform is not known.
    """
    mean = [float(v) for v in normalise.get('mean') or [0.] * 3]
    std = [float(v) for v in normalise.get('std') or [1.] * 3]
    result = Preprocess(
        channel_order='RGB' if normalise.get('bgr_to_rgb') else 'BGR', mean=mean, std=std,
        pad_position='bottom_right', pad_divisor=int(normalise.get('pad_size_divisor', 1)))
    # the preprocessor pads after it has normalised
    after = float(normalise.get('pad_value', 0))
    padded = [after * s + m for m, s in zip(mean, std)]
    result.pad_value = padded if result.channel_order == 'BGR' else padded[::-1]
    for transform in pipeline:
        name = transform['type'].rsplit('.', 1)[-1]
        if name in ('Resize', 'YOLOv5KeepRatioResize'):
            result.resize_size = _pair(transform['scale'])
            result.keep_ratio = bool(transform.get('keep_ratio', False))
        elif name == 'CenterPad':
            result.pad_size, result.pad_position = _pair(transform.get('size', 640)), 'center'
            result.pad_value = [float(transform.get('pad_val', 114))] * 3
        elif name == 'PoseResizePad':
            result.resize_size = result.pad_size = _pair(transform.get('input_size', 640))
            result.pad_value = [float(transform.get('pad_val', 127))] * 3
            result.pad_position = 'center' if transform.get('center') else 'bottom_right'
            result.inverse = 'ratio'
        elif name == 'Pad':
            _read_pad(result, transform)
        elif name not in HARMLESS:
            raise ValueError(
                f'the test pipeline has the transform {transform["type"]!r}, which an exported '
                'file cannot describe; use Resize with Pad, mmyolonas.CenterPad or '
                'mmyolonas.PoseResizePad.')
    return result


def _read_pad(result: Preprocess, transform: dict) -> None:
    """Take over mmcv's ``Pad``: bottom right, to a size or to a divisor."""
    if transform.get('size') is not None:
        result.pad_size = _pair(transform['size'])
    elif transform.get('size_divisor'):
        result.pad_divisor = int(transform['size_divisor'])
    value = transform.get('pad_val', 0)
    value = value.get('img', 0) if isinstance(value, dict) else value
    result.pad_value = [float(v) for v in value] if isinstance(value, (list, tuple)) else [
        float(value)] * 3


def _pair(value: Any) -> List[int]:
    return [int(value)] * 2 if isinstance(value, (int, float)) else [int(v) for v in value]


def _datasets(model_cfg: Any) -> List[Any]:
    """Return the configs of the data sets, the test set first."""
    found = []
    for name in ('test_dataloader', 'val_dataloader', 'train_dataloader'):
        dataset = (model_cfg.get(name) or {}).get('dataset')
        while dataset is not None:
            found.append(dataset)
            dataset = dataset.get('dataset')
    return found


def class_names(model_cfg: Any) -> Tuple[str, ...]:
    """Return the class names of a detection config, or numbered ones."""
    from mmengine.registry import DATASETS, init_default_scope
    for dataset in _datasets(model_cfg):
        classes = (dataset.get('metainfo') or {}).get('classes')
        if classes:
            return (classes, ) if isinstance(classes, str) else tuple(classes)
    init_default_scope(model_cfg.get('default_scope') or 'mmdet')
    for dataset in _datasets(model_cfg):
        kind = DATASETS.get(dataset['type'])
        classes = getattr(kind, 'METAINFO', {}).get('classes')
        if classes:
            return tuple(classes)
    return tuple(f'class_{i}' for i in range(network_config(model_cfg).bbox_head.num_classes))


def _keypoint_info(model_cfg: Any) -> Dict[str, Any]:
    """Return names, skeleton and constants of the key points of a pose config."""
    from mmengine.registry import DATASETS, init_default_scope
    init_default_scope(model_cfg.get('default_scope') or 'mmpose')
    num_keypoints = network_config(model_cfg).head.num_keypoints
    for dataset in _datasets(model_cfg):
        info = dataset.get('metainfo')
        if not info:
            info = getattr(DATASETS.get(dataset['type']), 'METAINFO', None)
        if not info:
            continue
        from mmpose.datasets.datasets.utils import parse_pose_metainfo
        meta = parse_pose_metainfo(dict(info))
        names = [meta['keypoint_id2name'][i] for i in range(meta['num_keypoints'])]
        if len(names) == num_keypoints:
            return dict(names=names, skeleton=[list(link) for link in meta['skeleton_links']],
                        sigmas=[float(s) for s in meta['sigmas']],
                        classes=meta.get('classes'))
    return dict(names=[f'keypoint_{i}' for i in range(num_keypoints)])
