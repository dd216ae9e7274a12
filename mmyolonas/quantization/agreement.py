"""Whether an 8-bit file, as its runtime runs it, is the fake-quantised network.

A runtime adds up in another order and rounds ties in another way, so single values land one step
apart, and each layer carries that on: two correct evaluations of an 8-bit network differ by about
half of what 8 bit itself changes. A runtime that computes a layer wrongly differs by a multiple.
"""
import copy
from dataclasses import dataclass
from typing import Any, Callable, List, Optional, Sequence, Tuple

import numpy as np
import torch
from torch import nn

from mmyolonas.quantization.graph.selection import Selection
from mmyolonas.quantization.ranges.quantizers import QuantizedModel, quantise_model
from mmyolonas.quantization.table import RangeTable
from mmyolonas.runtime.factory import ONNX_BACKENDS, open_session

#: Priors of an image that are compared: those with the best scores.
PRIORS = 100
#: Correct files end at 0.6 to 0.9 of what 8 bit changes, wrong ones at 2.5 and above.
LIMIT = 1.5


@dataclass
class Agreement:
    """Difference of a file from the fake-quantised network, and of that from the float network.

    Args:
        boxes (float): Root mean square over the coordinates of the best priors, in pixels.
        scores (float): The same of their class scores.
        noise_boxes (float): What 8 bit itself changes in the boxes.
        noise_scores (float): The same of the scores.
        runner (str): What ran the file.
    """
    boxes: float
    scores: float
    noise_boxes: float
    noise_scores: float
    runner: str

    @property
    def ratio(self) -> float:
        """float: The larger difference, in units of what 8 bit itself changes."""
        # a fraction of a pixel is nothing, also where 8 bit changes less
        return float(np.max([self.boxes / max(self.noise_boxes, 0.05),
                             self.scores / max(self.noise_scores, 1e-3)]))  # NaN stays NaN

    @property
    def agrees(self) -> bool:
        """bool: Whether the difference is one of rounding."""
        return self.ratio <= LIMIT  # NaN does not agree

    def text(self, path: str) -> str:
        """Return the outcome in a sentence."""
        rows = (f'{path} in {self.runner}: boxes {self.boxes:.2f} px and scores {self.scores:.4f} '
                f'from the fake-quantised network, {self.ratio:.1f} times what 8 bit changes')
        if self.agrees:
            return f'{rows}; it is the same network.'
        return (f'{rows}. THIS FILE IS NOT THE QUANTISED NETWORK in this runtime on this '
                'processor; do not use it here. Try --range equal (a processor without VNNI cannot '
                'add 255 steps), another --runtime, or another version of this one.')


class FakeQuantised:
    """The fake-quantised network's outputs for a few images.

    Args:
        fused (nn.Module): Fused float model; not changed.
        table (RangeTable): Ranges.
        images (Sequence[ndarray]): Network inputs (1, 3, H, W), float32.
        full (bool): Whether tensors that cannot be negative have 255 steps, as in the unsigned
            spellings. Defaults to False.
    """

    def __init__(self, fused: nn.Module, table: RangeTable, images: Sequence[np.ndarray],
                 full: bool = False) -> None:
        self.images = list(images)
        self.quantised: QuantizedModel = quantise_model(copy.deepcopy(fused).eval())
        self.quantised.load(table)
        self.quantised.set_span(full, table.nonnegative)
        with self.quantised.disabled():
            self.plain = self._outputs()

    def compare(self, path: str, runtime: str, selection: Optional[Selection] = None,
                num_threads: int = 2) -> Agreement:
        """Run a file as its runtime will and compare it.

        Args:
            path (str): ONNX file without suppression.
            runtime (str): Runtime of the file. One that is not here (TensorRT) is replaced by
                ONNX Runtime without optimisation, which does what the ONNX standard says.
            selection (Selection, optional): What is 8 bit; None for the default.
            num_threads (int): Threads of the runtime. Defaults to 2.

        Returns:
            Agreement: The differences.
        """
        if runtime in ONNX_BACKENDS:
            run: Callable[..., Any] = open_session(path, runtime, num_threads=num_threads)
            runner = runtime
        else:
            run = _unoptimised(path)
            runner = f'ONNX Runtime without optimisation ({runtime} is not run here)'
        if selection is not None:
            self.quantised.apply(selection)
        wanted = self._outputs()
        got = [tuple(np.asarray(x) for x in run(image)[:2]) for image in self.images]
        best = [np.argsort(-scores[0].max(-1), kind='stable')[:PRIORS] for _, scores in wanted]
        file, noise = (_differences(wanted, other, best) for other in (got, self.plain))
        return Agreement(*file, *noise, runner)

    @torch.no_grad()
    def _outputs(self) -> List[Tuple[np.ndarray, np.ndarray]]:
        model: Any = self.quantised.model
        head: Any = model.bbox_head if hasattr(model, 'bbox_head') else model.head
        found = []
        for image in self.images:
            outputs = head.decode(model.extract_feat(torch.from_numpy(image)))
            found.append((outputs[0].numpy(), outputs[1].numpy()))
        return found


def _differences(wanted: Sequence[tuple], other: Sequence[tuple],
                 best: Sequence[np.ndarray]) -> Tuple[float, float]:
    """Return the root mean squares of the boxes' and the scores' differences."""
    values = []
    for place in range(2):
        squares = [np.square(one[place][0][rows].astype(np.float64) - two[place][0][rows]).ravel()
                   for one, two, rows in zip(wanted, other, best)]
        values.append(float(np.sqrt(np.concatenate(squares).mean())))
    return values[0], values[1]


def _unoptimised(path: str) -> Callable[[np.ndarray], list]:
    """Return a function that runs a file operator by operator."""
    from mmyolonas.utils.optional import require
    ort = require('onnxruntime', 'Checking an 8-bit file')
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = ort.InferenceSession(str(path), options, providers=['CPUExecutionProvider'])
    name = session.get_inputs()[0].name
    return lambda image: session.run(None, {name: image})
