"""What a flavour wants of a finished graph beside its outputs: input and properties."""
from dataclasses import replace
from typing import Any

import numpy as np

from mmyolonas.export.flavours.properties import flavour_props
from mmyolonas.export.flavours.table import RAW, RGB_UNIT, flavour_of
from mmyolonas.export.metadata import ModelMetadata, Preprocess
from mmyolonas.utils.optional import require


def describe_input(metadata: ModelMetadata) -> None:
    """Set what the flavour's readers feed, before the graph is finished.

    Args:
        metadata (ModelMetadata): Description, changed in place.
    """
    flavour = flavour_of(metadata.postprocess.nms, metadata.task)
    if flavour.pixels == RAW:
        metadata.preprocess = replace(metadata.preprocess, in_graph=True)
    elif flavour.pixels == RGB_UNIT:
        metadata.preprocess = replace(metadata.preprocess, in_graph=False)


def finish_flavour(model: Any, metadata: ModelMetadata) -> Any:
    """Give a finished graph the input and the properties that its readers expect.

    Args:
        model (onnx.ModelProto): Graph with its outputs and our properties, changed in place.
        metadata (ModelMetadata): Description; the input's is changed where the graph takes
            over a part of it.

    Returns:
        onnx.ModelProto: ``model``.
    """
    from mmyolonas.export.onnx_passes import set_metadata
    flavour = flavour_of(metadata.postprocess.nms, metadata.task)
    if flavour.pixels == RGB_UNIT:
        _take_unit_rgb(model, metadata.preprocess)
        metadata.preprocess = replace(metadata.preprocess, channel_order='RGB', mean=[0.] * 3,
                                      std=[255.] * 3)
        set_metadata(model, metadata)
    if flavour.input_name != model.graph.input[0].name:
        _rename_input(model, flavour.input_name)
    batch = model.graph.input[0].type.tensor_type.shape.dim[0].dim_value or 1
    channels = model.graph.output[0].type.tensor_type.shape.dim[1].dim_value
    for key, value in flavour_props(metadata, batch, max(channels - 5, 0) // 3).items():
        for prop in model.metadata_props:
            if prop.key == key:
                prop.value = value
                break
        else:
            prop = model.metadata_props.add()
            prop.key, prop.value = key, value
    return model


def _take_unit_rgb(model: Any, preprocess: Preprocess) -> None:
    """Put what lies between RGB within 0..1 and the network's input into the graph."""
    onnx = require('onnx', 'Writing an ONNX file')
    name = model.graph.input[0].name
    mean, std = np.array(preprocess.mean, np.float32), np.array(preprocess.std, np.float32)
    current, nodes = name, []

    def add(op_type: str, constant: np.ndarray, **attributes: Any) -> None:
        nonlocal current
        output = f'unit_rgb.{op_type.lower()}'
        model.graph.initializer.append(onnx.numpy_helper.from_array(constant, f'{output}.value'))
        nodes.append(onnx.helper.make_node(op_type, [current, f'{output}.value'], [output],
                                           f'unit_rgb/{op_type}', **attributes))
        current = output

    if preprocess.channel_order == 'BGR':
        add('Gather', np.array([2, 1, 0]), axis=1)
    if np.any(std != 255):
        add('Mul', (255 / std).reshape(1, -1, 1, 1))
    if np.any(mean):
        add('Sub', (mean / std).reshape(1, -1, 1, 1))
    if not nodes:
        return
    for node in model.graph.node:
        for place, source in enumerate(node.input):
            if source == name:
                node.input[place] = current
    for node in reversed(nodes):
        model.graph.node.insert(0, node)


def _rename_input(model: Any, name: str) -> None:
    old = model.graph.input[0].name
    model.graph.input[0].name = name
    for node in model.graph.node:
        for place, source in enumerate(node.input):
            if source == old:
                node.input[place] = name
