"""The peers' quantisers on a float ONNX file; run by quantization_peers.py in their environment.

python quantization_makers.py NAME FLOAT.onnx CALIBRATION.npy VALIDATION.npy OUT

Those that choose what stays float ask their parent for the AP of a model on the validation
images: they write its outputs to a file, print "score FILE" and read the answer.
"""
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List

import numpy as np

#: Points of AP that a choice may lose, of 0..1.
BUDGET = 0.003


def ask_score(run: Callable[[np.ndarray], Any], indices: Any, images: Any) -> float:
    """Return the AP (of 0..1) of a model on some validation images."""
    results = [list(run(image[None])) for image in images]
    with tempfile.NamedTemporaryFile(suffix='.npz', delete=False) as file:
        np.savez(file, indices=indices, **{
            f'output{place}': np.concatenate([result[place] for result in results])
            for place in range(len(results[0]))})
    print('score', file.name, flush=True)
    return float(sys.stdin.readline())


def behind_predictions(source: str) -> List[str]:
    """Return the nodes that make predictions, and all that reads them: decoding."""
    import onnx
    found, tensors = [], set()
    for node in onnx.load(source).graph.node:
        if '_pred' in node.name or tensors & set(node.input):
            found.append(node.name)
            tensors |= set(node.output)
    return found


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


def make_onnxruntime_excluded(source: str, images: np.ndarray, validation: np.ndarray,
                              out: str) -> None:
    """Beside that, its nodes_to_exclude: decoding, and what touches the worst tensors.

    The worst by its own debugger, and so many that the validation images lose no more than the
    budget, or the best that was tried.
    """
    import onnxruntime as ort
    from onnxruntime.quantization import QuantType
    decoding = behind_predictions(source)

    def make(path: str, more: List[str]) -> None:
        onnxruntime_stock(source, images, path, per_channel=True, weight_type=QuantType.QInt8,
                          activation_type=QuantType.QUInt8, nodes_to_exclude=[*decoding, *more])

    def score(path: str) -> float:
        session = ort.InferenceSession(path, providers=['CPUExecutionProvider'])
        return ask_score(lambda image: session.run(None, {'input': image}),
                         list(range(len(validation))), validation)

    plain = score(source)
    make(out, [])
    touching = worst_tensors(source, out, images[:4])
    best, found = -1., Path(out).read_bytes()
    for count in (1, 2, 4, 8, 16, 32, 0):
        ap = score(out)
        if ap > best:
            best, found = ap, Path(out).read_bytes()
        if plain - ap <= BUDGET or not count:
            break
        make(out, sorted(set().union(*touching[:count])))
    Path(out).write_bytes(found)


def worst_tensors(source: str, quantised: str, images: np.ndarray) -> List[set]:
    """Return the nodes that make or read a tensor, those of the tensor with most error first."""
    import onnx
    from onnxruntime.quantization import qdq_loss_debug as debug
    with tempfile.TemporaryDirectory() as folder:
        found = []
        for name, path in (('quantised', quantised), ('float', source)):
            augmented = str(Path(folder) / f'{name}.onnx')
            debug.modify_model_output_intermediate_tensors(path, augmented)
            found.append(debug.collect_activations(augmented, iter(
                [{'input': image[None]} for image in images])))
    errors = debug.compute_activation_error(debug.create_activation_matching(*found))
    ranks = {name: row['qdq_err'] for name, row in errors.items()}
    nodes = onnx.load(source).graph.node
    touching = [{node.name for node in nodes if name in [*node.input, *node.output]}
             for name in sorted(ranks, key=ranks.__getitem__)]
    return [names for names in touching if names]


def make_modelopt(source: str, images: np.ndarray, validation: np.ndarray, out: str) -> None:
    """Quantise with modelopt's ONNX quantiser, INT8, calibrated by entropy (its default)."""
    from modelopt.onnx.quantization import quantize
    quantize(source, quantize_mode='int8', calibration_data={'input': images}, output_path=out,
             calibration_eps=['cpu'])


def make_modelopt_excluded(source: str, images: np.ndarray, validation: np.ndarray,
                           out: str) -> None:
    """The largest values as ranges, decoding left out."""
    from modelopt.onnx.quantization import quantize
    quantize(source, quantize_mode='int8', calibration_data={'input': images}, output_path=out,
             calibration_eps=['cpu'], calibration_method='max',
             nodes_to_exclude=behind_predictions(source))


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


def make_nncf_ignored(source: str, images: np.ndarray, validation: np.ndarray,
                      out: str) -> None:
    """Decoding in NNCF's ignored_scope."""
    nncf, openvino, model, dataset = _nncf_parts(source, images)
    quantised = nncf.quantize(model, dataset, subset_size=len(images),
                              ignored_scope=_ignored(nncf, model))
    openvino.save_model(quantised, out, compress_to_fp16=False)


def _ignored(nncf: Any, model: Any) -> Any:
    found, reached = [], set()
    for node in model.get_ordered_ops():
        name = node.get_friendly_name()
        inputs = {source.get_node().get_friendly_name() for source in node.input_values()}
        if node.get_type_name() == 'Constant':
            continue
        if '_pred' in name or inputs & reached:
            reached.add(name)
            if node.get_type_name() != 'Result':
                found.append(name)
    return nncf.IgnoredScope(names=found, validate=False)


def make_nncf_accuracy(source: str, images: np.ndarray, validation: np.ndarray,
                       out: str) -> None:
    """NNCF's quantisation that takes layers back until at most 0.003 of AP is lost."""
    nncf, openvino, model, dataset = _nncf_parts(source, images)

    def validate(compiled: Any, data: Any) -> tuple:
        indices, images = zip(*data)  # NNCF asks for parts of the data set, too
        return ask_score(lambda image: compiled([image]).to_tuple(), indices, images), None

    checked = nncf.Dataset(list(enumerate(validation)), lambda item: item[1][None])
    quantised = nncf.quantize_with_accuracy_control(
        model, calibration_dataset=dataset, validation_dataset=checked, validation_fn=validate,
        max_drop=BUDGET, subset_size=len(images), ignored_scope=_ignored(nncf, model))
    openvino.save_model(quantised, out, compress_to_fp16=False)


MAKERS: Dict[str, Callable[..., None]] = dict(
    onnxruntime=make_onnxruntime, onnxruntime_tuned=make_onnxruntime_tuned,
    onnxruntime_excluded=make_onnxruntime_excluded, modelopt=make_modelopt,
    modelopt_excluded=make_modelopt_excluded, nncf=make_nncf, nncf_ignored=make_nncf_ignored,
    nncf_accuracy=make_nncf_accuracy)

if __name__ == '__main__':
    name, float_file, calibration, validation_file, target = sys.argv[1:]
    MAKERS[name](float_file, np.load(calibration), np.load(validation_file), target)
