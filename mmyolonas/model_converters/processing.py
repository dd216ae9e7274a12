"""The pre-processing that SuperGradients stores with a checkpoint."""
from collections.abc import Mapping
from typing import Any, Dict, List, Optional, Tuple


def plain(value: Any) -> Any:
    """Return a copy of JSON-like data; tuples become lists.

    Raises:
        TypeError: There is an object among it.
    """
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if hasattr(value, 'tolist'):
        return plain(value.tolist())
    raise TypeError(f'{type(value).__name__} is not plain data')


def class_names(params: Mapping) -> Optional[List[str]]:
    """Return the class names, if there are any."""
    names = params.get('class_names')
    if isinstance(names, (list, tuple)) and names and all(isinstance(n, str) for n in names):
        return list(names)
    return None


def summarise(params: Mapping) -> Dict[str, Any]:
    """Return pre- and post-processing in this project's terms.

    SuperGradients hands RGB images to its processing steps, so the network
    gets BGR where a step reverses the channels (reference.md 9.1, reference.md 9.3).

    Args:
        params (Mapping): The file's ``processing_params``.

    Returns:
        dict: What is known of ``bgr_to_rgb`` (bool, for our preprocessor, whose
        images are BGR), ``scale`` (longest side, pixels), ``pad_size`` (height,
        width), ``pad_where`` ('center' or 'bottom_right'), ``pad_value``,
        ``mean`` and ``std`` (of 0..255 values), ``score_thr``, ``iou_threshold``.
    """
    result: Dict[str, Any] = {}
    steps = _steps(params.get('image_processor'))
    if steps:
        result['bgr_to_rgb'] = sum(name == 'ReverseImageChannels' for name, _ in steps) % 2 == 0
    divisor = 1.0
    for name, arguments in steps:
        if 'LongestMaxSize' in name or name == 'DetectionRescale':
            result['scale'] = _largest(arguments.get('output_shape'))
        elif 'Padding' in name and 'output_shape' in arguments:
            result['pad_size'] = plain(arguments['output_shape'])
            result['pad_where'] = 'center' if 'Center' in name else 'bottom_right'
            result['pad_value'] = plain(arguments.get('pad_value', 114))
        elif name == 'StandardizeImage':
            divisor = float(arguments.get('max_value', 255.0))
            result.update(mean=[0.0] * 3, std=[divisor] * 3)
        elif name == 'NormalizeImage':
            for key in ('mean', 'std'):
                result[key] = [float(value) * divisor for value in arguments[key]]
    for ours, theirs in (('score_thr', 'conf'), ('iou_threshold', 'iou')):
        if isinstance(params.get(theirs), (int, float)):
            result[ours] = float(params[theirs])
    return {key: value for key, value in result.items() if value is not None}


def _steps(processor: Any) -> List[Tuple[str, dict]]:
    """Return the processing steps as (name, arguments)."""
    if isinstance(processor, Mapping) and len(processor) == 1:
        (name, arguments), = processor.items()
        if name == 'ComposeProcessing':
            return _steps((arguments or {}).get('processings'))
        return [(name, dict(arguments or {}))]
    if isinstance(processor, (list, tuple)):
        return [step for item in processor for step in _steps(item)]
    if isinstance(processor, str):
        return [(processor, {})]
    return []


def _largest(shape: Any) -> Optional[int]:
    if isinstance(shape, int):
        return shape
    return max(int(value) for value in shape) if shape else None


def config_advice(summary: Mapping, kind: str) -> List[str]:
    """Return what the config has to say for this checkpoint, where it is not usual.

    Args:
        summary (Mapping): :func:`summarise`'s result.
        kind (str): 'detection' or 'pose'.
    """
    usual = dict(
        detection=dict(bgr_to_rgb=True, pad_where='center', scale=636, pad_value=114),
        pose=dict(bgr_to_rgb=False, pad_where='bottom_right', scale=640, pad_value=127))[kind]
    text = dict(
        bgr_to_rgb='model.data_preprocessor.bgr_to_rgb={}',
        pad_where='padding: {}',
        scale='longest side: {} px',
        pad_value='padding value: {}')
    differing = [text[key].format(summary[key]) for key in usual
                 if key in summary and summary[key] != usual[key]]
    if not differing:
        return []
    return ['pre-processing that differs from the COCO config, set it in yours: '
            + '; '.join(differing)]
