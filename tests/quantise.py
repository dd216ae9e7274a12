"""A quantised file for the tests, made with ONNX Runtime's quantiser."""
import numpy as np
import onnx
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static

from tests.exported_models import pixels


class _Reader(CalibrationDataReader):

    def __init__(self, shape) -> None:
        self.feeds = iter([{'input': pixels(*shape)}])

    def get_next(self):
        """Return the next input, or None."""
        return next(self.feeds, None)


def quantise(path: str, out: str) -> str:
    """Write a Q/DQ file (int8, symmetric, float biases, float predictions); return its name."""
    model = onnx.load(path)
    sides = [side.dim_value or 1 for side in model.graph.input[0].type.tensor_type.shape.dim]
    keep = [node.name for node in model.graph.node
            if node.op_type == 'Conv' and '_pred' in node.name]
    quantize_static(
        path, out, _Reader((sides[0], sides[2], sides[3])), quant_format=QuantFormat.QDQ,
        op_types_to_quantize=['Conv'], per_channel=True, nodes_to_exclude=keep,
        activation_type=QuantType.QInt8, weight_type=QuantType.QInt8,
        extra_options=dict(ActivationSymmetric=True, WeightSymmetric=True, QuantizeBias=False))
    result = onnx.load(out)
    for prop in model.metadata_props:
        if prop.key not in {p.key for p in result.metadata_props}:
            result.metadata_props.append(prop)
    # weights as constants behind their quantiser keep the scales of a real file
    assert np.any([node.op_type == 'DequantizeLinear' for node in result.graph.node])
    onnx.save(result, out)
    return out
