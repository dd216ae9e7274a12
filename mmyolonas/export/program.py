"""A model as a ``torch.export`` program: what ExecuTorch, AOTInductor and CoreML start from."""
import os
from dataclasses import replace
from typing import Any, Optional, Sequence

import torch
from torch import nn

from mmyolonas.export.export import default_metadata
from mmyolonas.export.flavours.table import flavour_of, output_names
from mmyolonas.export.fusion import prepare_model
from mmyolonas.export.graph.exported import build_exported
from mmyolonas.export.metadata import ModelMetadata
from mmyolonas.utils.files import atomic_path
from mmyolonas.version import __version__

#: Suppression is made of ONNX operators, which a program does not have.
FLAVOURS = ('none', 'deepstream', 'ultralytics', 'maps')


class NamedOutputs(nn.Module):
    """An exported network whose outputs have names.

    Args:
        network (nn.Module): From an image to a tuple.
        names (Sequence[str]): Names of the outputs, in order.
    """

    def __init__(self, network: nn.Module, names: Sequence[str]) -> None:
        super().__init__()
        self.network = network
        self.names = list(names)

    def forward(self, image: torch.Tensor) -> dict:
        """Map images (B, 3, H, W) to the outputs by name."""
        return dict(zip(self.names, self.network(image)))


def export_program(model: nn.Module, path: Optional[str] = None,
                   input_shape: Sequence[int] = (1, 3, 640, 640), nms: str = 'none',
                   metadata: Optional[ModelMetadata] = None,
                   fold_shortcuts: bool = True) -> Any:
    """Export a detector or pose estimator with ``torch.export``.

    The weights are fused as in :func:`mmyolonas.export.export_onnx`. The program takes
    ``image`` and returns a dictionary with the flavour's names, so its outputs are called
    ``boxes`` and ``scores``, not ``getitem_3``. The description is stored in the file and
    read by :func:`load_program`.

    Args:
        model (nn.Module): Model with ``backbone``, ``neck`` and ``bbox_head`` or ``head``;
            it is not changed.
        path (str, optional): ``.pt2`` file to write; None writes none.
        input_shape (Sequence[int]): Batch, channels, height, width. Defaults to
            (1, 3, 640, 640).
        nms (str): ``'none'``, ``'deepstream'``, ``'ultralytics'`` or ``'maps'``. Defaults
            to ``'none'``.
        metadata (ModelMetadata, optional): Description.
        fold_shortcuts (bool): See
            :func:`mmyolonas.export.fusion.fold_shortcut_scales`.

    Returns:
        torch.export.ExportedProgram: The program; ``program.module()`` runs it.

    Raises:
        ValueError: A flavour with suppression, or sides that are no multiples of 32.
    """
    metadata = replace(metadata or default_metadata(model))
    flavour_of(nms, metadata.task)
    if nms not in FLAVOURS:
        raise ValueError(f'torch.export has no form for nms={nms!r}; take one of '
                         f'{", ".join(FLAVOURS)}.')
    if len(input_shape) != 4 or input_shape[2] % 32 or input_shape[3] % 32:
        raise ValueError('input_shape is (batch, channels, height, width), height and width '
                         f'multiples of 32, got {tuple(input_shape)}.')
    metadata.postprocess = replace(metadata.postprocess, nms=nms)
    metadata.input_size = [int(input_shape[3]), int(input_shape[2])]
    metadata.preprocess = metadata.preprocess.for_input_size(*metadata.input_size)
    metadata.mmyolonas_version = __version__
    network = build_exported(prepare_model(model, fold_shortcuts), metadata.postprocess)
    metadata.strides = [int(stride) for stride in network.decode.strides]
    names = output_names(nms, metadata.task, metadata.strides)
    image = torch.zeros(tuple(input_shape))
    with torch.no_grad():
        program = torch.export.export(NamedOutputs(network, names).eval(), (image, ))
    if path is not None:
        with atomic_path(path) as temporary:
            # torch insists on the suffix
            staged = f'{temporary}.pt2'
            torch.export.save(program, staged, extra_files=metadata.to_props())
            os.replace(staged, temporary)
    return program


def load_program(path: str) -> tuple:
    """Read what :func:`export_program` wrote.

    Args:
        path (str): ``.pt2`` file.

    Returns:
        tuple[torch.export.ExportedProgram, ModelMetadata]: Program and description.

    Raises:
        FileNotFoundError: No such file.
        ValueError: It carries no description of ours.
    """
    if not os.path.isfile(path):
        raise FileNotFoundError(f'no such program: {path}')
    props = dict.fromkeys(ModelMetadata().to_props(), '')
    program = torch.export.load(path, extra_files=props)
    found = {key: value.decode() if isinstance(value, bytes) else value
             for key, value in props.items() if value}
    return program, ModelMetadata.from_props(found, path)
