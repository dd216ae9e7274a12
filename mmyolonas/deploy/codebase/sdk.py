"""mmdeploy's C++ SDK: the parts of its description that it cannot know."""
import functools
from typing import Any, Dict, List

from mmdeploy.backend.sdk import export_info

from mmyolonas.export.metadata import Preprocess


def sdk_transforms(preprocess: Preprocess, meta_keys: List[str]) -> List[Dict[str, Any]]:
    """Spell a pre-processing in the SDK's transforms.

    The SDK's ``LetterResize`` with a ratio of one pads in the centre, rounding
    down on the left and the top, which is what ``CenterPad`` does.

    Args:
        preprocess (Preprocess): Description.
        meta_keys (list[str]): Keys for the SDK's ``Collect``.

    Returns:
        list[dict]: Transforms.
    """
    steps: List[Dict[str, Any]] = [dict(type='LoadImageFromFile')]
    pad_value = int(preprocess.pad_value[0])
    if preprocess.resize_size is not None:
        steps.append(dict(type='Resize', size=list(preprocess.resize_size),
                          keep_ratio=preprocess.keep_ratio))
    if preprocess.pad_position == 'center' and preprocess.pad_size:
        steps.append(dict(type='LetterResize', scale=list(preprocess.pad_size),
                          allow_scale_up=False, pad_val=dict(img=pad_value)))
    elif preprocess.pad_size:
        # unlike LetterResize, this one takes a bare number
        steps.append(dict(type='Pad', size=list(preprocess.pad_size), pad_val=pad_value))
    steps += [
        dict(type='Normalize', to_rgb=preprocess.channel_order == 'RGB',
             mean=list(preprocess.mean), std=list(preprocess.std)),
        dict(type='Pad', size_divisor=max(preprocess.pad_divisor, 1)),
        dict(type='DefaultFormatBundle'),
        dict(type='Collect', keys=['img'], meta_keys=meta_keys),
    ]
    return steps


def _serve_as_mmdet() -> None:
    """Name mmdet's post-processing in the SDK's pipeline; the SDK has none of ours."""
    original = export_info.get_postprocess
    if getattr(original, 'serves_mmyolonas', False):
        return

    @functools.wraps(original)
    def get_postprocess(*args: Any, **kwargs: Any) -> Dict:
        result = original(*args, **kwargs)
        if result['module'] == 'mmyolonas':
            result['module'] = 'mmdet'
        return result

    get_postprocess.serves_mmyolonas = True
    export_info.get_postprocess = get_postprocess


_serve_as_mmdet()
