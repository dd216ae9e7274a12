"""8 bit as a step of an export, described by ``quantize=dict(...)`` of a deploy config."""
from typing import Any, Dict, Optional

import onnx
from torch import nn

from mmyolonas.quantization.choice.plan import Plan
from mmyolonas.quantization.graph.qdq import QdqWriter, insert_qdq, spelling_of
from mmyolonas.quantization.ranges.calibration import calibrate
from mmyolonas.quantization.ranges.images import load_samples
from mmyolonas.quantization.ranges.quantizers import quantise_model
from mmyolonas.quantization.table import RangeTable
from mmyolonas.utils import UserError
from mmyolonas.utils.files import write_onnx

SETTINGS: Dict[str, Any] = dict(plan=None, ranges=None, calib_images=64, calib_split='train',
                                calib_method='max', headroom=False)


def check_settings(settings: Dict[str, Any]) -> Dict[str, Any]:
    """Return the settings with defaults filled in.

    Raises:
        UserError: There is one that is not known.
    """
    unknown = sorted(set(settings) - set(SETTINGS))
    if unknown:
        raise UserError(f'quantize= of the deploy config has an unknown setting {unknown[0]!r}; '
                        f'known: {", ".join(SETTINGS)}.')
    return {**SETTINGS, **settings}


def quantise_file(path: str, fused: nn.Module, model_cfg: Any, settings: Dict[str, Any],
                  runtime: str) -> RangeTable:
    """Replace a float export by its 8-bit form.

    Args:
        path (str): Float export of ``fused``; written again.
        fused (nn.Module): Result of :func:`mmyolonas.quantization.fuse_model`;
            gets fake-quantisers if it has to be calibrated.
        model_cfg (Config): Model config; calibration images come from its data.
        settings (dict): ``plan``, ``ranges``, ``calib_images``, ``calib_split``,
            ``calib_method``, ``headroom``; see :data:`SETTINGS`.
        runtime (str): See :func:`mmyolonas.quantization.insert_qdq`.

    Returns:
        RangeTable: The ranges.

    Raises:
        UserError: A setting, the plan, the ranges or the data do not fit.
    """
    settings = check_settings(settings)
    spelling = spelling_of(runtime)
    plan: Optional[Plan] = Plan.load(settings['plan']) if settings['plan'] else None
    if settings['ranges']:
        table = RangeTable.load(settings['ranges'])
    else:
        count = settings['calib_images']
        images = (sample.inputs for sample in load_samples(
            model_cfg, fused, settings['calib_split'], count))
        table = calibrate(quantise_model(fused), images, count, settings['calib_method'])
    model = onnx.load(path)
    selection = None if plan is None else plan.selection(
        QdqWriter(model, table, spelling).flow)
    result = insert_qdq(model, table, runtime, selection, settings['headroom'])
    write_onnx(path, result)
    return table
