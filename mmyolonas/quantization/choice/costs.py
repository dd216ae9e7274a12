"""What 8 bit costs in accuracy, tensor by tensor and weight by weight, with intervals."""
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Dict, Iterable, List, Optional, Sequence, Tuple, Union

import numpy as np
from scipy.stats import spearmanr
from scipy.stats import t as student

from mmyolonas.quantization.graph.dataflow import Dataflow
from mmyolonas.quantization.graph.selection import Selection
from mmyolonas.utils import UserError, write_json
from mmyolonas.utils.files import read_json
from mmyolonas.utils.typed import build

FORMAT = 'mmyolonas-costs/1'
#: Confidence of the one-sided bounds.
LEVEL = 0.95


@dataclass
class Noise:
    """Divergence from float that one tensor or weight in 8 bit makes, image by image.

    Args:
        images (list[float]): See :func:`mmyolonas.quantization.choice.noise.divergence`; float
            and 8 bit saw the same image.
    """
    images: List[float]

    @property
    def mean(self) -> float:
        """float: Mean over the images."""
        return float(np.mean(self.images))

    def end(self, side: int) -> float:
        """Return the lower (-1) or upper (1) one-sided bound of the mean."""
        count = len(self.images)
        if count < 2:
            return self.mean
        spread = float(np.std(self.images, ddof=1)) / np.sqrt(count)
        return max(self.mean + side * float(student.ppf(LEVEL, count - 1)) * spread, 0.)


@dataclass
class Estimate:
    """A number with its one-sided bounds (95 % each).

    Args:
        value (float): Estimate.
        low (float): What it exceeds in 95 of 100 cases.
        high (float): What it does not exceed in 95 of 100 cases.
    """
    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f'{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]'


def add_up(parts: Iterable[Estimate]) -> Estimate:
    """Return the sum of estimates, bound by bound: they saw the same images."""
    rows = list(parts)
    return Estimate(sum(row.value for row in rows), sum(row.low for row in rows),
                    sum(row.high for row in rows))


@dataclass
class PlanLoss:
    """A random plan that was scored.

    Args:
        int8_groups (int): How many groups are 8 bit.
        noise (float): Sum of the noise of its tensors and weights, each measured alone.
        lost (float): Points of AP lost against float, as measured.
        whole (float): Noise of the plan measured as a whole.
    """
    int8_groups: int
    noise: float
    lost: float
    whole: float = float('nan')


@dataclass
class Costs:
    """Noise of everything that may be 8 bit, and what it costs in points of AP.

    Args:
        tensors (dict[str, Noise]): By tensor class.
        weights (dict[str, Noise]): By layer.
        slope (Estimate): Points of AP per unit of noise, from ``plans``.
        plans (list[PlanLoss]): What the slope was fitted to.
        float_ap (float, optional): AP in float on the images of the plans.
        scored_images (int): How many images the plans were scored on.
    """
    tensors: Dict[str, Noise]
    weights: Dict[str, Noise]
    slope: Estimate = field(default_factory=lambda: Estimate(0., 0., 0.))
    plans: List[PlanLoss] = field(default_factory=list)
    float_ap: Optional[float] = None
    scored_images: int = 0

    def noise(self, selection: Selection) -> float:
        """Return the noise of what is 8 bit, as the sum of its parts."""
        return sum(self.tensors[name].mean for name in selection.classes
                   if name in self.tensors) + sum(
                       self.weights[name].mean for name in selection.layers
                       if name in self.weights)

    def cost(self, tensors: Iterable[str] = (), weights: Iterable[str] = ()) -> Estimate:
        """Return what some tensors and weights cost in points of AP.

        The upper bound takes the upper bounds of slope and noise, the lower the lower ones.
        """
        rows = [self.tensors[name] for name in tensors if name in self.tensors]
        rows += [self.weights[name] for name in weights if name in self.weights]
        return Estimate(self.slope.value * sum(row.mean for row in rows),
                        max(self.slope.low, 0.) * sum(row.end(-1) for row in rows),
                        max(self.slope.high, 0.) * sum(row.end(1) for row in rows))

    def rank(self) -> float:
        """Return Spearman's correlation of predicted and measured losses (NaN without plans)."""
        if len(self.plans) < 3:
            return float('nan')
        return float(spearmanr([plan.noise for plan in self.plans],
                               [plan.lost for plan in self.plans])[0])

    def how(self) -> str:
        """Return in words how a cost was found."""
        count = len(next(iter(self.weights.values())).images) if self.weights else 0
        return (f'noise on {count} images times {self.slope} AP per unit, '
                f'from {len(self.plans)} plans scored on {self.scored_images} images')

    def lines(self) -> List[str]:
        """Return predicted beside measured losses as lines for the terminal."""
        rows = [f'{plan.int8_groups:5d} groups in 8 bit: noise {plan.noise:9.4g}, predicted '
                f'{self.slope.value * plan.noise:+6.2f} AP lost, measured {plan.lost:+6.2f}'
                for plan in self.plans]
        return [*rows, f'{self.slope} points of AP per unit of noise, Spearman {self.rank():.2f} '
                f'over {len(rows)} plans on {self.scored_images} images; the parts alone make '
                f'{self.additivity():.2f} times the noise of the whole'] if rows else []

    def additivity(self) -> float:
        """Return the sum of the parts' noise in units of that of the whole plan, in the median."""
        ratios = [plan.noise / plan.whole for plan in self.plans if plan.whole > 0]
        return float(np.median(ratios)) if ratios else float('nan')

    def save(self, path: Union[str, Path]) -> None:
        """Write the costs as JSON, atomically."""
        write_json(path, {'format': FORMAT, **asdict(self)})

    @classmethod
    def load(cls, path: Union[str, Path], flow: Optional[Dataflow] = None) -> 'Costs':
        """Read what :meth:`save` wrote.

        What 8 bit costs in accuracy does not depend on the runtime, so one analysis serves
        all runtimes of one spelling.

        Args:
            path (str | Path): File.
            flow (Dataflow, optional): Model it must be of.

        Raises:
            UserError: No such file, it is no analysis, or of another model.
        """
        def check(data: dict) -> 'Costs':
            if data.pop('format', None) != FORMAT:
                raise ValueError(f'its format is not {FORMAT}')
            found = build(cls, data)
            if any(not row.images or min(row.images) < 0
                   for row in [*found.tensors.values(), *found.weights.values()]):
                raise ValueError('there is noise without images, or below zero')
            return found

        result = read_json(path, 'an analysis of tools/quantize.py', check=check)
        if flow is not None:
            other = sorted(set(result.weights) ^ set(measured_layers(flow)))
            if other:
                raise UserError(f'{path} is the analysis of another model: {other[0]} is in one '
                                'of them only.')
        return result


def measured_layers(flow: Dataflow) -> List[str]:
    """Return the layers that may be 8 bit."""
    return [layer for layer in flow.layers if not flow.is_prediction(layer)]


def fit_slope(noise: Sequence[float], lost: Sequence[float],
              draws: Sequence[Tuple[Sequence[int], Sequence[float]]]) -> Estimate:
    """Return the points of AP per unit of noise: least squares through the origin.

    Args:
        noise (Sequence[float]): Noise of each plan.
        lost (Sequence[float]): Its measured loss.
        draws (Sequence): For the interval: plans drawn with replacement (their places), and
            the losses of these on images drawn with replacement.

    Returns:
        Estimate: Slope with its one-sided bounds.
    """
    def slope(x: np.ndarray, y: np.ndarray) -> float:
        total = float(x @ x)
        return float(x @ y) / total if total > 0 else 0.

    sizes = np.asarray(noise, float)
    value = slope(sizes, np.asarray(lost, float))
    found = [slope(sizes[list(places)], np.asarray(losses, float)) for places, losses in draws]
    if not found:
        return Estimate(value, value, value)
    low, high = np.quantile(found, [1 - LEVEL, LEVEL])
    return Estimate(value, float(min(low, value)), float(max(high, value)))
