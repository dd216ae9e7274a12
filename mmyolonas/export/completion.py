"""Suppression and description for a file that ends with the boxes and scores of all priors.

Quantisation works on such files; this makes of one what :func:`export_onnx` makes of a model.
"""
import io
import math
from typing import Any, Dict, List, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from mmyolonas.export import onnx_passes
from mmyolonas.export.export import trace_module
from mmyolonas.export.flavours.finish import describe_input, finish_flavour
from mmyolonas.export.flavours.table import flavour_of, output_names
from mmyolonas.export.flavours.tails import build_tail
from mmyolonas.export.graph.candidates import Candidates, best_priors
from mmyolonas.export.metadata import ModelMetadata, Postprocess
from mmyolonas.export.onnx_graph import editing
from mmyolonas.utils.files import write_onnx
from mmyolonas.utils.optional import require
from mmyolonas.version import __version__

_PREFIX = 'suppression.'
# that every supported torch can write
_LAST_OPSET = 17


class Suppression(nn.Module):
    """Suppression of the decoded priors of a whole image.

    Args:
        rules (Postprocess): End of the graph; not ``'maps'``.
        image_size (Sequence[int]): Height and width that boxes are clipped to.
    """

    def __init__(self, rules: Postprocess, image_size: Sequence[int]) -> None:
        super().__init__()
        self.rules = rules
        self.image_size = tuple(image_size) if rules.clip else None
        self.nms = build_tail(rules)

    def forward(self, boxes: Tensor, scores: Tensor, keypoints: Optional[Tensor] = None,
                keypoint_scores: Optional[Tensor] = None) -> Tuple[Tensor, ...]:
        """Map the outputs of a file without suppression to those of one with it."""
        candidates = Candidates(boxes, scores, keypoints, keypoint_scores)
        if self.rules.nms not in ('onnx', 'flat'):
            return self.nms(candidates)
        index = best_priors(scores.transpose(1, 2), self.rules.pre_top_k)
        points = (None if x is None else _rows(x, index) for x in candidates[2:])
        best = Candidates(_rows(boxes, index), _rows(scores, index), *points)
        return self.nms(best, self.image_size)


def _rows(x: Tensor, index: Tensor) -> Tensor:
    """Pick rows ``index`` (B, N) from ``x`` (B, L, ...)."""
    flat = x.flatten(2)
    picked = flat.gather(1, index.unsqueeze(2).expand(-1, -1, flat.shape[2]))
    return picked.unflatten(2, x.shape[2:]) if x.dim() > 3 else picked


def complete_onnx(source: str, path: str, metadata: ModelMetadata) -> ModelMetadata:
    """Add what a file without suppression lacks.

    Args:
        source (str): ONNX file with the outputs ``boxes`` and ``scores``, for poses also
            ``keypoints`` and ``keypoint_scores``, of all priors; quantised or not.
        path (str): File to write.
        metadata (ModelMetadata): Description; says what the graph ends with, and whether it
            takes raw pixels. The input size is the file's.

    Returns:
        ModelMetadata: The description as stored.

    Raises:
        ValueError: Other outputs, a free height or width, another task, or damaged.
    """
    require('onnx', 'Completing an ONNX file')
    model = onnx_passes.load_onnx(source)
    try:
        model = _complete(model, source, metadata)
    except (ValueError, OSError, MemoryError):
        raise
    except Exception as error:  # a damaged graph fails in onnx's and torch's own ways
        reason = ' '.join(str(error).split())[:200]
        raise ValueError(f'{source} is damaged or from elsewhere ({reason}): export it again.') \
            from error
    write_onnx(path, model)
    return metadata


def _complete(model: Any, source: str, metadata: ModelMetadata) -> Any:
    """Return the completed graph; the description is changed in place."""
    names = _output_names(model)
    wanted = output_names('none', metadata.task)
    if names != wanted:
        raise ValueError(f'{source} has the outputs {", ".join(names)}; a file of a '
                         f'{metadata.task} model without suppression has '
                         f'{", ".join(wanted)}.')
    if metadata.postprocess.nms == 'maps':
        raise ValueError(f'{source} ends with decoded boxes, from which the maps cannot be had; '
                         'export the checkpoint with nms_type="maps".')
    onnx_passes.check(model)
    describe_input(metadata)
    height, width = _fixed_size(model, source)
    metadata.input_size = [width, height]
    metadata.preprocess = metadata.preprocess.for_input_size(width, height)
    metadata.mmyolonas_version = __version__
    rules = metadata.postprocess
    if rules.nms != 'none':
        _check_classes(model, metadata, source)
        model = _append(model, Suppression(rules, (height, width)), metadata)
    if metadata.preprocess.in_graph:
        onnx_passes.prepend_preprocess(model, metadata.preprocess)
    onnx_passes.set_metadata(model, metadata)
    model = finish_flavour(model, metadata)
    onnx_passes.check(model)
    return model


def _output_names(model: Any) -> List[str]:
    return [output.name for output in model.graph.output]


def _fixed_size(model: Any, source: str) -> Tuple[int, int]:
    height, width = model.graph.input[0].type.tensor_type.shape.dim[2:]
    if not height.dim_value or not width.dim_value:
        raise ValueError(f'{source} takes images of any size; suppression can be added to files '
                         'of a fixed size.')
    return height.dim_value, width.dim_value


def _check_classes(model: Any, metadata: ModelMetadata, source: str) -> None:
    count = model.graph.output[1].type.tensor_type.shape.dim[2].dim_value
    if count and count != len(metadata.class_names):
        raise ValueError(f'{source} has {count} classes, the model config names '
                         f'{len(metadata.class_names)}.')


def _append(model: Any, tail: nn.Module, metadata: ModelMetadata) -> Any:
    """Return the graph with the module's graph behind it."""
    onnx = require('onnx', 'Completing an ONNX file')
    shapes = [[dim.dim_value or 1 for dim in output.type.tensor_type.shape.dim]
              for output in model.graph.output]
    opset = onnx_passes.opset_version(model)
    if any(not 0 < math.prod(shape) < 1 << 28 for shape in shapes):
        raise ValueError(f'the outputs of the file cannot have the shapes {shapes}.')
    free = not model.graph.input[0].type.tensor_type.shape.dim[0].dim_value
    # an output of the whole may have the name of one of all priors
    _rename_outputs(model, {name: f'all.{name}' for name in _output_names(model)})
    names = _output_names(model)
    outputs = output_names(metadata.postprocess.nms, metadata.task)
    axes = {name: {0: 'batch'} for name in names} if free else {}
    if free:
        axes.update({name: flavour_of(metadata.postprocess.nms).batch_axes for name in outputs})
    generator = torch.Generator().manual_seed(0)
    inputs = tuple(torch.rand(shape, generator=generator) for shape in shapes)
    file = io.BytesIO()
    trace_module(tail.eval(), inputs, file, names, outputs, axes, min(opset, _LAST_OPSET),
                 metadata.postprocess.nms == 'efficient_nms')
    end = onnx_passes.simplify(onnx.load_from_string(file.getvalue()))
    if opset > _LAST_OPSET:
        end = onnx.version_converter.convert_version(end, opset)
    end.ir_version = model.ir_version
    end = onnx.compose.add_prefix(end, _PREFIX)
    whole = onnx.compose.merge_models(
        model, end, [(name, f'{_PREFIX}{name}') for name in names])
    domains = {item.domain: item for item in whole.opset_import}  # one for each of the two
    del whole.opset_import[:]
    whole.opset_import.extend(domains.values())
    _rename_outputs(whole, {f'{_PREFIX}{name}': name for name in outputs})
    return whole


def _rename_outputs(model: Any, names: Dict[str, str]) -> None:
    """Give the graph's outputs other names."""
    with editing(model) as view:
        for output in view.graph.outputs:
            output.name = names[output.name]
