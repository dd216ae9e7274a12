"""The noise that one tensor or weight in 8 bit brings into the outputs."""
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any, List, Optional, Sequence, Tuple, Union

import numpy as np
import torch

from mmyolonas.quantization.choice.costs import Costs, Noise, measured_layers
from mmyolonas.quantization.choice.known import Known
from mmyolonas.quantization.graph.selection import Selection, select
from mmyolonas.quantization.ranges.quantizers import QuantizedModel
from mmyolonas.utils import UserError, track

#: Displacement, as a part of a box's side, that counts like one nat of a score.
SIDE = 0.1
BATCH = 8


def score_divergence(reference: np.ndarray, scores: np.ndarray) -> float:
    """Return the Kullback-Leibler divergence of class scores, summed over priors.

    Args:
        reference (ndarray): Float scores within [0, 1]; each is the chance of a
            class being there.
        scores (ndarray): Scores in 8 bit.
    """
    p = np.clip(np.asarray(reference, np.float64), 1e-7, 1 - 1e-7)
    q = np.clip(np.asarray(scores, np.float64), 1e-7, 1 - 1e-7)
    return float((p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum())


def divergence(reference: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> float:
    """Return how far the outputs for one image are from those in float.

    Divergence of the scores, and squared displacements of boxes and key points relative to the
    boxes' sides, in units of :data:`SIDE`, weighted by the float score: both grow with the
    square of a small error, so the noise of independent parts adds up.

    Args:
        reference (Sequence[ndarray]): Boxes (L, 4) xyxy, scores (L, C); for pose also key points
            (L, K, 2) and their scores (L, K), in float.
        outputs (Sequence[ndarray]): The same in 8 bit.
    """
    boxes, scores = (np.asarray(x, np.float64) for x in reference[:2])
    weights = scores.max(-1)
    sides = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.)
    shifts = [(np.asarray(outputs[0]) - boxes) / np.tile(sides, 2)]
    if len(reference) > 2:
        moved = np.asarray(outputs[2]) - reference[2]
        seen = np.asarray(reference[3])[..., None]
        shifts.append((moved * np.sqrt(seen) / sides[:, None]).reshape(len(boxes), -1))
    total = score_divergence(scores, outputs[1])
    return total + sum(float(weights @ np.square(shift / SIDE).mean(-1)) for shift in shifts)


class NoiseAnalysis:
    """Measure every tensor and weight alone, keeping what is done in a file.

    Args:
        quantised (QuantizedModel): Calibrated model.
        images (Sequence[ndarray]): Network inputs (1, 3, H, W), all of one size.
        cache (str | Path, optional): JSON file; an interrupted analysis goes on from it. It is
            begun anew if weights, ranges or images have changed.
    """

    def __init__(self, quantised: QuantizedModel, images: Sequence[np.ndarray],
                 cache: Optional[Union[str, Path]] = None) -> None:
        if not images:
            raise UserError('the analysis needs at least one image.')
        self.quantised = quantised
        stacked = torch.from_numpy(np.concatenate(list(images)))
        self.batches = stacked.split(BATCH)
        self.known = Known(cache, self._key(stacked))
        self._plain: List[Any] = []  # outputs in float

    def _key(self, stacked: torch.Tensor) -> str:
        digest = hashlib.sha256(stacked.numpy().tobytes())
        for name, value in self.quantised.model.state_dict().items():
            if not name.endswith('_amax'):
                digest.update(value.detach().numpy().tobytes())
        ranges = asdict(self.quantised.table())
        digest.update(json.dumps([ranges, self.quantised.full], sort_keys=True).encode())
        return digest.hexdigest()

    def run(self) -> Costs:
        """Return the noise of all that may be 8 bit; slope and plans are still missing."""
        flow = self.quantised.flow
        layers = measured_layers(flow)
        classes = sorted(select(flow, layers).classes)
        nothing: frozenset = frozenset()
        probes: List[Tuple[str, Selection]] = [
            (f'tensor {name}', Selection(nothing, nothing, frozenset([name])))
            for name in classes]
        probes += [(f'weight {name}', Selection(frozenset([name]), nothing, nothing))
                   for name in layers]
        before = self.quantised.selection
        try:
            missing = [probe for probe in probes if probe[0] not in self.known.values]
            if missing:
                with self.quantised.disabled():
                    self._plain = self._outputs()
            for name, selection in track(missing, 'noise') if missing else ():
                self.quantised.apply(selection)
                self.known.find(name, lambda: [
                    divergence(*pair) for pair in zip(self._plain, self._outputs())])
        finally:
            self.quantised.apply(before)
        found = self.known.values
        return Costs({name: Noise(found[f'tensor {name}']) for name in classes},
                     {name: Noise(found[f'weight {name}']) for name in layers})

    def of(self, selection: Selection) -> List[float]:
        """Return the noise of a whole selection, image by image: are the parts' sums right?"""
        before = self.quantised.selection
        if not self._plain:
            with self.quantised.disabled():
                self._plain = self._outputs()
        plain = self._plain
        try:
            self.quantised.apply(selection)
            return [divergence(*pair) for pair in zip(plain, self._outputs())]
        finally:
            self.quantised.apply(before)

    @torch.no_grad()
    def _outputs(self) -> List[List[np.ndarray]]:
        """Return the decoded outputs of each image."""
        model: Any = self.quantised.model
        head: Any = model.bbox_head if hasattr(model, 'bbox_head') else model.head
        found: List[List[np.ndarray]] = []
        for batch in self.batches:
            outputs = [value.numpy() for value in head.decode(model.extract_feat(batch))]
            found.extend([value[index] for value in outputs] for index in range(len(batch)))
        return found
