"""OpenVINO's own format."""
import os
import tempfile
from typing import Any, Dict, Optional

from mmyolonas.export.onnx_passes import has_custom_ops
from mmyolonas.utils.files import check_room, write_bytes
from mmyolonas.utils.optional import require


def convert_openvino(onnx_path: str, xml_path: Optional[str] = None, fp16: bool = False) -> str:
    """Write an ONNX file as OpenVINO IR (``.xml`` and ``.bin``) with its description.

    Args:
        onnx_path (str): ONNX file.
        xml_path (str, optional): File to write; beside the ONNX file if None.
        fp16 (bool): Whether the weights are stored in 16 bit. Defaults to
            False.

    Returns:
        str: The ``.xml`` file.

    Raises:
        FileNotFoundError: No such ONNX file.
        ImportError: OpenVINO is not installed.
        UserError: The folder cannot be written to.
        ValueError: OpenVINO cannot convert the file.
    """
    openvino = require('openvino', 'Converting to OpenVINO')
    onnx = require('onnx', 'Converting to OpenVINO')
    if not os.path.isfile(onnx_path):
        raise FileNotFoundError(f'no such ONNX file: {onnx_path}')
    xml_path = os.path.abspath(xml_path or f'{os.path.splitext(onnx_path)[0]}.xml')
    proto = onnx.load(onnx_path)
    if has_custom_ops(proto):
        raise ValueError(f'{onnx_path} ends with a TensorRT plugin, which OpenVINO does not have; '
                         'export with nms="onnx" or "none".')
    try:
        # not convert_model, which reports each call to its makers over the network
        model = openvino.Core().read_model(onnx_path)
    except RuntimeError as error:
        raise ValueError(f'openvino cannot convert {onnx_path}: {error}') from error
    _name_ports(model, proto)
    for prop in proto.metadata_props:
        model.set_rt_info(prop.value, ['mmyolonas', prop.key])
    with tempfile.TemporaryDirectory(prefix='mmyolonas-') as scratch:
        try:
            openvino.save_model(model, os.path.join(scratch, 'model.xml'), compress_to_fp16=fp16)
        except RuntimeError as error:
            check_room(scratch)
            raise ValueError(f'openvino cannot write {xml_path}: {error}') from error
        # the weights first: a reader never sees a description without them
        for suffix in ('.bin', '.xml'):
            with open(os.path.join(scratch, f'model{suffix}'), 'rb') as file:
                write_bytes(os.path.splitext(xml_path)[0] + suffix, file.read())
    return xml_path


def _name_ports(model: Any, proto: Any) -> None:
    """Leave inputs and outputs one name each, the ONNX file's.

    Merged nodes leave ports with several, of which servers show another one than ours.
    """
    for port, value in zip(model.inputs, proto.graph.input):
        port.get_tensor().set_names({value.name})
    names: Dict[Any, set] = {}
    for port, value in zip(model.outputs, proto.graph.output):
        source = port.get_node().input_value(0)
        key = source.get_node().get_friendly_name(), source.get_index()
        names.setdefault(key, set()).add(value.name)
        source.get_tensor().set_names(names[key])
        port.get_tensor().set_names({value.name})
