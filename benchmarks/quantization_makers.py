"""The peers' quantisers on a float ONNX file; run by quantization_peers.py in their environment.

python quantization_makers.py NAME FLOAT.onnx CALIBRATION.npy VALIDATION.npy OUT

The accuracy-controlled one asks its parent for the AP of a model: it writes the outputs of all
validation images to a file, prints "score FILE" and reads the answer.
"""
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict

import numpy as np


def onnxruntime_stock(source: str, images: np.ndarray, out: str, **options: Any) -> None:
    """ONNX Runtime's static quantisation: pre-processing, then its defaults."""
    from onnxruntime.quantization import CalibrationDataReader, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.images = iter(images)

        def get_next(self) -> Any:
            image = next(self.images, None)
            return None if image is None else {'input': image[None]}

    with tempfile.TemporaryDirectory() as folder:
        prepared = str(Path(folder) / 'prepared.onnx')
        quant_pre_process(source, prepared)
        quantize_static(prepared, out, Reader(), **options)


def make_onnxruntime(source: str, images: np.ndarray, validation: np.ndarray, out: str) -> None:
    """Every setting as it comes."""
    onnxruntime_stock(source, images, out)


def make_onnxruntime_tuned(source: str, images: np.ndarray, validation: np.ndarray,
                           out: str) -> None:
    """Unsigned activations and weights per channel, what its manual advises for x86."""
    from onnxruntime.quantization import QuantType
    onnxruntime_stock(source, images, out, per_channel=True, activation_type=QuantType.QUInt8,
                      weight_type=QuantType.QInt8)


def make_modelopt(source: str, images: np.ndarray, validation: np.ndarray, out: str) -> None:
    """Quantise with modelopt's ONNX quantiser, INT8, calibrated by entropy (its default)."""
    from modelopt.onnx.quantization import quantize
    quantize(source, quantize_mode='int8', calibration_data={'input': images}, output_path=out,
             calibration_eps=['cpu'])


def _nncf_parts(source: str, images: np.ndarray) -> tuple:
    import nncf
    import openvino
    return nncf, openvino, openvino.Core().read_model(source), nncf.Dataset(
        images, lambda image: image[None])


def make_nncf(source: str, images: np.ndarray, validation: np.ndarray, out: str) -> None:
    """NNCF's quantisation of the OpenVINO model."""
    nncf, openvino, model, dataset = _nncf_parts(source, images)
    quantised = nncf.quantize(model, dataset, subset_size=len(images))
    openvino.save_model(quantised, out, compress_to_fp16=False)


def make_nncf_accuracy(source: str, images: np.ndarray, validation: np.ndarray,
                       out: str) -> None:
    """NNCF's quantisation that takes layers back until at most 0.003 of AP is lost."""
    nncf, openvino, model, dataset = _nncf_parts(source, images)

    def validate(compiled: Any, data: Any) -> tuple:
        # NNCF asks for parts of the data set, too
        indices, images = zip(*data)
        results = [compiled([image[None]]) for image in images]
        with tempfile.NamedTemporaryFile(suffix='.npz', delete=False) as file:
            np.savez(file, indices=indices, boxes=np.concatenate([result[0] for result in results]),
                     scores=np.concatenate([result[1] for result in results]))
        print('score', file.name, flush=True)
        return float(sys.stdin.readline()), None

    checked = nncf.Dataset(list(enumerate(validation)), lambda item: item[1][None])
    quantised = nncf.quantize_with_accuracy_control(
        model, calibration_dataset=dataset, validation_dataset=checked, validation_fn=validate,
        max_drop=0.003, subset_size=len(images))
    openvino.save_model(quantised, out, compress_to_fp16=False)


MAKERS: Dict[str, Callable[..., None]] = dict(
    onnxruntime=make_onnxruntime, onnxruntime_tuned=make_onnxruntime_tuned,
    modelopt=make_modelopt, nncf=make_nncf, nncf_accuracy=make_nncf_accuracy)

if __name__ == '__main__':
    name, float_file, calibration, validation_file, target = sys.argv[1:]
    MAKERS[name](float_file, np.load(calibration), np.load(validation_file), target)
