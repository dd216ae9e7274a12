"""8 bit as a step of an export, described by ``quantize=dict(...)`` of a deploy config."""
from pathlib import Path
from typing import Any, Dict, Iterator, Optional, Sequence, Union

import onnx
from torch import Tensor, nn

from mmyolonas.export.export import export_onnx
from mmyolonas.export.onnx_graph import convolve_upsampling
from mmyolonas.quantization.choice.plan import Plan
from mmyolonas.quantization.graph.qdq import QdqWriter, insert_qdq
from mmyolonas.quantization.graph.spelling import spelling_of
from mmyolonas.quantization.ranges.calibration import calibrate
from mmyolonas.quantization.ranges.correction import bias_corrections
from mmyolonas.quantization.ranges.images import Sample, load_samples
from mmyolonas.quantization.ranges.quantizers import quantise_model
from mmyolonas.quantization.table import RangeTable
from mmyolonas.utils import UserError
from mmyolonas.utils.files import write_onnx

SETTINGS: Dict[str, Any] = dict(plan=None, ranges=None, calib_images=64, calib_split='train',
                                calib_method='max', span='full', bias_correction=False)


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


def network_inputs(samples: Iterator[Sample], size: Sequence[int], exported: str,
                   cure: str) -> Iterator[Tensor]:
    """Yield the images of samples, all of the size of the exported network.

    Ranges that were found at another size are those of other objects.

    Args:
        samples (Iterator[Sample]): Images after the test pipeline.
        size (Sequence[int]): Height and width of the exported network; 0 where it is free.
        exported (str): What has that size, for the message.
        cure (str): What to do about it.

    Raises:
        UserError: An image is of another size.
    """
    for sample in samples:
        found = tuple(sample.inputs.shape[2:])
        if any(want and want != have for want, have in zip(size, found)):
            raise UserError(
                f'{exported} is {size[1]} x {size[0]} (width x height), but the test pipeline of '
                f'the config makes images of {found[1]} x {found[0]}; {cure}')
        yield sample.inputs


def input_size(model: onnx.ModelProto) -> Sequence[int]:
    """Return height and width of a file's input, 0 where they are free."""
    return [side.dim_value for side in model.graph.input[0].type.tensor_type.shape.dim[2:]]


def find_table(fused: nn.Module, model_cfg: Any, settings: Dict[str, Any],
               size: Sequence[int]) -> RangeTable:
    """Return the ranges of a deploy config's settings: read, or calibrated.

    Args:
        fused (nn.Module): Fused model; gets fake-quantisers if it has to be calibrated.
        model_cfg (Config): Model config.
        settings (dict): See :data:`SETTINGS`.
        size (Sequence[int]): Height and width of the export, 0 where free.

    Raises:
        UserError: The data do not fit.
    """
    if settings['ranges']:
        table = RangeTable.load(settings['ranges'])
        if table.equalised:
            raise UserError(f'{settings["ranges"]} are the ranges of an equalised model, which a '
                            'deploy config does not make; quantise it with tools/quantize.py.')
        return table
    count = settings['calib_images']
    samples = load_samples(model_cfg, fused, settings['calib_split'], count)
    images = network_inputs(
        samples, size, 'the export', 'set onnx_config.input_shape of the deploy config to that, '
        'or take a config whose test pipeline makes images of the exported size.')
    print(f'calibrating on {count} images of the {settings["calib_split"]} set', flush=True)
    kept = list(images)
    quantised = quantise_model(fused)
    table = calibrate(quantised, kept, count, settings['calib_method'])
    if settings['bias_correction']:
        table.corrections = bias_corrections(quantised, kept)
    return table


def export_float(fused: nn.Module, path: Union[str, Path], shape: Sequence[int],
                 **kwargs: Any) -> None:
    """Write the float file that 8-bit files are made of, without suppression.

    Scales of shortcuts are left where quantisers are put, and transposed convolutions are
    convolutions.

    Args:
        fused (nn.Module): Result of :func:`mmyolonas.quantization.fuse_model`.
        path (str | Path): File to write.
        shape (Sequence[int]): Of the input.
        kwargs: More of :func:`mmyolonas.export.export_onnx`.
    """
    export_onnx(fused, str(path), shape, nms='none', fold_shortcuts=False, **kwargs)
    model = onnx.load(str(path))
    convolve_upsampling(model)
    write_onnx(path, model)


def quantise_file(path: str, fused: nn.Module, model_cfg: Any, settings: Dict[str, Any],
                  runtime: str, out: Optional[str] = None) -> RangeTable:
    """Make the 8-bit form of a float export.

    Args:
        path (str): Float export of ``fused``.
        fused (nn.Module): Result of :func:`mmyolonas.quantization.fuse_model`;
            gets fake-quantisers if it has to be calibrated.
        model_cfg (Config): Model config; calibration images come from its data.
        settings (dict): ``plan``, ``ranges``, ``calib_images``, ``calib_split``,
            ``calib_method``, ``span``, ``bias_correction``; see :data:`SETTINGS`.
        runtime (str): See :func:`mmyolonas.quantization.insert_qdq`.
        out (str, optional): File to write; None writes ``path`` again.

    Returns:
        RangeTable: The ranges.

    Raises:
        UserError: A setting, the plan, the ranges or the data do not fit.
    """
    settings = check_settings(settings)
    spelling = spelling_of(runtime, settings['span'])
    plan: Optional[Plan] = Plan.load(settings['plan']) if settings['plan'] else None
    model = onnx.load(path)
    convolve_upsampling(model)
    table = find_table(fused, model_cfg, settings, input_size(model))
    selection = None if plan is None else plan.selection(
        QdqWriter(model, table, spelling).flow)
    if plan is not None:
        plan.check_runtime(runtime)
    result = insert_qdq(model, table, runtime, selection, settings['span'])
    write_onnx(out or path, result)
    return table
