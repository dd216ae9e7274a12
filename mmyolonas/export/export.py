"""From a model in memory to an ONNX file."""
import io
import os
import warnings
from dataclasses import dataclass, replace
from typing import Any, BinaryIO, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np
import torch
from torch import nn

from mmyolonas import compat
from mmyolonas.export import onnx_graph, onnx_passes
from mmyolonas.export.flavours.finish import describe_input, finish_flavour
from mmyolonas.export.flavours.table import flavour_of
from mmyolonas.export.fusion import prepare_model
from mmyolonas.export.graph import ExportedDetector, build_exported
from mmyolonas.export.metadata import ModelMetadata
from mmyolonas.utils.files import write_onnx
from mmyolonas.utils.optional import require
from mmyolonas.version import __version__

DYNAMIC = ('none', 'batch', 'shape')
MIN_OPSET = 13


@dataclass
class ExportReport:
    """An exported file.

    Args:
        path (str): ONNX file.
        metadata (ModelMetadata): Description stored in it.
        output_names (list[str]): Outputs in order.
        num_nodes (int): Nodes of the graph.
        size (int): Bytes.
        errors (dict[str, float]): Largest difference from PyTorch in ONNX
            Runtime per output, for random pixels; empty if not compared.
    """
    path: str
    metadata: ModelMetadata
    output_names: List[str]
    num_nodes: int
    size: int
    errors: Dict[str, float]


def export_onnx(model: nn.Module,
                path: str,
                input_shape: Sequence[int] = (1, 3, 640, 640),
                nms: Optional[str] = None,
                metadata: Optional[ModelMetadata] = None,
                dynamic: str = 'none',
                opset: int = 17,
                simplify: bool = True,
                fold_shortcuts: bool = True,
                verify: bool = True) -> ExportReport:
    """Export a detector or pose estimator with everything a consumer needs.

    The weights are fused, the graph is simplified and checked, tensors have
    the names of their modules, and the description is stored in the file. The
    file appears under its name when it is complete.

    Args:
        model (nn.Module): Model with ``backbone``, ``neck`` and
            ``bbox_head`` (detection) or ``head`` (pose); it is not changed.
        path (str): File to write.
        input_shape (Sequence[int]): Batch, channels, height, width. Height and
            width are multiples of 32. Defaults to (1, 3, 640, 640).
        nms (str, optional): End of the graph, a row of
            :data:`mmyolonas.export.flavours.FLAVOURS`; the description's if None.
        metadata (ModelMetadata, optional): Description; thresholds and limits
            of the graph are taken from it. If ``preprocess.in_graph`` is set,
            the file takes raw ``uint8`` pixels in the order BGR.
        dynamic (str): ``'none'``, ``'batch'`` (free batch size) or ``'shape'``
            (free batch, height and width). Defaults to ``'none'``.
        opset (int): ONNX opset, at least 13. Defaults to 17.
        simplify (bool): Whether to fold constants with onnxslim.
        fold_shortcuts (bool): See
            :func:`mmyolonas.export.fusion.fold_shortcut_scales`.
        verify (bool): Whether to compare with PyTorch in ONNX Runtime.

    Returns:
        ExportReport: What was written.

    Raises:
        ImportError: A package is missing.
        PermissionError: The file cannot be written.
        RuntimeError: ONNX Runtime and PyTorch disagree.
        ValueError: Arguments that do not go together.
    """
    onnx = require('onnx', 'Exporting to ONNX')
    _check_arguments(input_shape, dynamic, opset)
    metadata = _describe(metadata or default_metadata(model), input_shape, nms, dynamic)
    graph = build_exported(prepare_model(model, fold_shortcuts), metadata.postprocess,
                           dynamic != 'shape')
    metadata.task, metadata.strides = graph.task, [int(s) for s in graph.decode.strides]
    image = torch.from_numpy(np.random.default_rng(0).random(input_shape, np.float32))
    file = io.BytesIO()
    trace(graph, image, file, dynamic, opset)
    proto = finish_onnx(onnx.load_from_string(file.getvalue()), metadata,
                        {'input': image.numpy()} if simplify else None, simplify,
                        {'levels': f'{graph.head_name}.levels'})
    errors = compare_with_torch(proto, graph, image, metadata) if verify else {}
    write_onnx(path, finish_flavour(proto, metadata))
    return ExportReport(os.path.abspath(path), metadata, graph.output_names,
                        len(proto.graph.node), os.path.getsize(path), errors)


def _describe(metadata: ModelMetadata, input_shape: Sequence[int], nms: Optional[str],
              dynamic: str) -> ModelMetadata:
    """Return a copy of a description that says what the file will be."""
    metadata = replace(metadata)
    if nms is not None:
        metadata.postprocess = replace(metadata.postprocess, nms=nms)
    metadata.input_size = [int(input_shape[3]), int(input_shape[2])]
    if dynamic != 'shape':
        metadata.preprocess = metadata.preprocess.for_input_size(*metadata.input_size)
    metadata.mmyolonas_version = __version__
    metadata.__post_init__()
    describe_input(metadata)
    return metadata


def _check_arguments(input_shape: Sequence[int], dynamic: str, opset: int) -> None:
    if len(input_shape) != 4 or min(input_shape) < 1:
        raise ValueError(f'input_shape is (batch, channels, height, width), got {input_shape}.')
    if input_shape[2] % 32 or input_shape[3] % 32:
        raise ValueError(
            f'height and width must be multiples of 32, got {input_shape[2]} x {input_shape[3]}.')
    if dynamic not in DYNAMIC:
        raise ValueError(f'dynamic must be one of {", ".join(DYNAMIC)}, got {dynamic!r}.')
    if opset < MIN_OPSET:
        raise ValueError(f'opset must be at least {MIN_OPSET}, got {opset}; 17 is the default.')


def default_metadata(model: nn.Module) -> ModelMetadata:
    """Describe a model as far as it knows itself; see :mod:`config_metadata` for more."""
    meta = getattr(model, 'dataset_meta', None) or {}
    is_pose = not hasattr(model, 'bbox_head')
    head: Any = model.head if is_pose else model.bbox_head
    names = list(meta.get('classes', ())) or (
        ['person'] if is_pose else [f'class_{i}' for i in range(head.num_classes)])
    return ModelMetadata(task='pose' if is_pose else 'detection', class_names=names)


def dynamic_axes(names: Sequence[str], dynamic: str, nms: str) -> Dict[str, dict]:
    """Return torch's ``dynamic_axes`` for the inputs and outputs.

    Args:
        names (Sequence[str]): Outputs.
        dynamic (str): See :func:`export_onnx`.
        nms (str): End of the graph.
    """
    if dynamic == 'none':
        return {}
    axes: Dict[str, dict] = {'input': {0: 'batch'}}
    if dynamic == 'shape':
        axes['input'].update({2: 'height', 3: 'width'})
    flavour = flavour_of(nms)
    for name in names:
        axes[name] = {**flavour.batch_axes, **(flavour.shape_axes if dynamic == 'shape' else {})}
    return axes


def trace(graph: ExportedDetector, image: torch.Tensor, file: BinaryIO, dynamic: str,
          opset: int) -> None:
    """Write the traced graph to a file."""
    plugin = graph.rules.nms == 'efficient_nms'
    trace_module(graph, (image, ), file, ['input'], graph.output_names,
                 dynamic_axes(graph.output_names, dynamic, graph.rules.nms), opset, plugin)


def trace_module(module: nn.Module, inputs: Tuple[torch.Tensor, ...], file: Union[str, BinaryIO],
                 input_names: Sequence[str], output_names: Sequence[str], axes: Dict[str, dict],
                 opset: int, plugin: bool = False) -> None:
    """Write a traced module to a file, with torch's TorchScript exporter.

    Args:
        module (nn.Module): Module.
        inputs (tuple[Tensor, ...]): Inputs to trace it with.
        file (str | BinaryIO): Path, or file open for writing.
        input_names (Sequence[str]): Names of the inputs.
        output_names (Sequence[str]): Names of the outputs.
        axes (dict[str, dict]): Free axes, torch's ``dynamic_axes``.
        opset (int): ONNX opset.
        plugin (bool): Whether there is an operator of TensorRT. Defaults to False.
    """
    compat.export_with_torchscript()
    target: Any = file  # torch's annotation forgets what its TorchScript exporter takes
    with warnings.catch_warnings(), torch.no_grad():
        # the exporter's own deprecation and the traced shapes, which are meant
        warnings.simplefilter('ignore')
        torch.onnx.export(
            module, inputs, target, input_names=list(input_names),
            output_names=list(output_names), opset_version=opset, dynamic_axes=axes,
            do_constant_folding=True, custom_opsets={'TRT': 1} if plugin else None)


def finish_onnx(proto: Any, metadata: ModelMetadata, feed: Optional[Dict[str, np.ndarray]],
                simplify: bool = True,
                prefixes: Optional[Dict[str, str]] = None) -> Any:
    """Simplify, rename, add pre-processing if wanted, describe and check a traced graph.

    Args:
        proto (onnx.ModelProto): Graph as the exporter wrote it.
        metadata (ModelMetadata): Description to store.
        feed (dict[str, ndarray], optional): Inputs for the check of the
            simplification.
        simplify (bool): Whether to simplify.
        prefixes (dict[str, str], optional): See
            :func:`mmyolonas.export.onnx_passes.rename_tensors`.

    Returns:
        onnx.ModelProto: The finished graph.
    """
    if simplify:
        onnx_graph.drop_unit_factors(proto)
        proto = onnx_passes.simplify(proto, feed)
    else:
        onnx_graph.drop_dead_nodes(proto)
    onnx_passes.rename_tensors(proto, prefixes)
    if metadata.preprocess.in_graph:
        onnx_passes.prepend_preprocess(proto, metadata.preprocess)
    onnx_passes.set_metadata(proto, metadata)
    onnx_passes.check(proto)
    return proto


def compare_with_torch(proto: Any, graph: ExportedDetector, image: torch.Tensor,
                       metadata: ModelMetadata) -> Dict[str, float]:
    """Run graph and module on the same pixels.

    Returns:
        dict[str, float]: Largest absolute difference of each output. After
        suppression, where the last bit of a score decides which of two boxes
        stays, ``unmatched`` is the share of detections that only one side has.
        Empty for a graph that ONNX Runtime cannot run.

    Raises:
        RuntimeError: A decoded box differs by more than 0.05 pixels, a score by
            more than 1e-3, or more than a fifth of the detections.
    """
    if onnx_passes.has_custom_ops(proto):
        return {}
    pixels, feed = raw_pixels(image, metadata)
    with torch.no_grad():
        expected = [value.numpy() for value in graph(pixels)]
    got = onnx_passes.run_graph(proto, {'input': feed})
    if metadata.postprocess.nms == 'onnx':
        errors = {'unmatched': unmatched(expected[0], got[0])}
        limits = {'unmatched': 0.2}
    elif metadata.postprocess.nms == 'flat':
        errors = {'unmatched': unmatched(expected[0][None, :, 1:6], got[0][None, :, 1:6])}
        limits = {'unmatched': 0.2}
    else:
        errors = {name: float(np.abs(a - b).max(initial=0))
                  for name, a, b in zip(graph.output_names, expected, got)}
        limits = {'boxes': 0.05, 'keypoints': 0.05}
    usual = flavour_of(metadata.postprocess.nms).tolerance
    for name, error in errors.items():
        if not error <= limits.get(name, usual):
            raise RuntimeError(
                f'ONNX Runtime and PyTorch differ by {error:.3g} in {name!r} (allowed: '
                f'{limits.get(name, usual)}); the file was not written. Pass verify=False to '
                'keep it anyway.')
    return errors


def unmatched(expected: np.ndarray, got: np.ndarray, box_tolerance: float = 0.05,
              score_tolerance: float = 1e-3) -> float:
    """Return the share of detections (B, N, 5) without a counterpart on the other side.

    Args:
        expected (ndarray): Rows x1, y1, x2, y2, score; score 0 is padding.
        got (ndarray): The same from elsewhere.
        box_tolerance (float): Pixels. Defaults to 0.05.
        score_tolerance (float): Defaults to 1e-3.
    """
    tolerance = np.array([box_tolerance] * 4 + [score_tolerance])
    missing = total = 0
    for one, other in zip(expected, got):
        one, other = one[one[:, 4] > 0], other[other[:, 4] > 0]
        same = (np.abs(one[:, None] - other[None]) <= tolerance).all(-1)
        missing += int((~same.any(1)).sum() + (~same.any(0)).sum())
        total += len(one) + len(other)
    return missing / max(total, 1)


def raw_pixels(image: torch.Tensor, metadata: ModelMetadata) -> Tuple[torch.Tensor, np.ndarray]:
    """Return the network's input and what to feed the file for it."""
    preprocess = metadata.preprocess
    if not preprocess.in_graph:
        return image, image.numpy()
    raw = (image * 255).round().to(torch.uint8)
    pixels = raw.flip(1) if preprocess.channel_order == 'RGB' else raw
    mean = torch.tensor(preprocess.mean).view(1, -1, 1, 1)
    std = torch.tensor(preprocess.std).view(1, -1, 1, 1)
    return (pixels.float() - mean) / std, raw.numpy()
