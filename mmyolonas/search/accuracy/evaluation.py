"""What a search is told about an architecture without training it."""
import math
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Optional, Sequence

import numpy as np

from mmyolonas.search.accuracy.scores import SCORES
from mmyolonas.search.accuracy.surrogate import Surrogate
from mmyolonas.search.latency.operator_table import OperatorTable
from mmyolonas.search.latency.operators import Operator, operators
from mmyolonas.search.space.architecture import build
from mmyolonas.search.space.encoding import Genome
from mmyolonas.search.space.space import Space, genome_key

#: Numbers of a whole network that cost nothing: the base lines.
BASE_LINES = ('params', 'flops')
#: Bytes of a number of weights and feature maps.
_BYTES = dict(fp32=4, fp16=2, int8=1)


@dataclass
class Structure:
    """What is known from the tables alone.

    Args:
        operators (list[Operator]): What is computed.
        numbers (dict[str, float]): Logarithms of ``params`` and ``flops``, and every
            score that needs no weights.
    """
    operators: List[Operator]
    numbers: Dict[str, float]

    @property
    def params(self) -> int:
        """int: Weights and biases after fusion."""
        return sum(op.weights + op.out_channels for op in self.operators
                   if op.kind in ('conv', 'deconv'))

    @property
    def flops(self) -> int:
        """int: Two for each multiplication with its addition, one image."""
        return 2 * sum(op.macs for op in self.operators)

    def memory(self, precision: str) -> float:
        """Return megabytes of weights and of the largest operator's input and output."""
        size = _BYTES[precision]
        largest = max(op.values + op.input_values for op in self.operators)
        return size * (self.params + largest) / 1e6


def structure(space: Space, genome: Genome, num_classes: int, scores: bool = True) -> Structure:
    """Return the structure of an architecture; some ten milliseconds, no weights.

    Args:
        space (Space): The space.
        genome (dict): The architecture.
        num_classes (int): Classes, or key points of a pose model.
        scores (bool): Whether scores that need no weights are among the numbers; they
            take as long as all else. Defaults to True.
    """
    model = build(space.decode(genome), num_classes, device='meta')
    found = Structure(operators(model, genome['input_size']), {})
    found.numbers.update(params=math.log(found.params), flops=math.log(found.flops))
    for score in SCORES.values():
        if score.free and scores:
            found.numbers[score.name] = score.compute(model, None)
    return found


@dataclass
class Predictor:
    """Predicts the accuracy of a short training.

    Args:
        surrogate (Surrogate): The model.
        names (list[str]): Its numbers of whole networks, in order.
        with_choices (bool): Whether it also sees every choice.
        tau (float): Its cross-validated rank correlation.
    """
    surrogate: Surrogate
    names: List[str]
    with_choices: bool
    tau: float

    def predict(self, numbers: Dict[str, float], choices: np.ndarray) -> float:
        """Return the accuracy of one architecture, in points of AP."""
        wholes = np.array([[numbers[name] for name in self.names]])
        choices = choices[None] if self.with_choices else np.zeros((1, 0))
        return float(self.surrogate.predict(wholes, choices)[0][0])


@dataclass
class Point:
    """An architecture as a search sees it.

    Args:
        genome (dict): The architecture.
        accuracy (float): Points of AP with inherited weights, or predicted ones.
        latency (float): Predicted milliseconds.
        memory (float): Megabytes, see :meth:`Structure.memory`.
        params (int): Weights.
        flops (int): Operations.
    """
    genome: Genome
    accuracy: float
    latency: float
    memory: float
    params: int
    flops: int

    @property
    def key(self) -> str:
        """str: See :func:`mmyolonas.search.space.space.genome_key`."""
        return genome_key(self.genome)


@dataclass
class Evaluator:
    """Gives each architecture its point.

    Args:
        space (Space): The space.
        num_classes (int): Classes, or key points of a pose model.
        table (OperatorTable): Times of operators.
        precision (str): ``'fp32'``, ``'fp16'`` or ``'int8'``.
        predictor (Predictor, optional): Of accuracy; None gives NaN.
        extra (Callable, optional): Takes a genome, returns scores by name that need
            weights, for a predictor that was given them.
        measure (Callable, optional): Takes a genome, returns points of AP; in place of
            the predictor. Not asked about architectures the search may not choose.
    """
    space: Space
    num_classes: int
    table: OperatorTable
    precision: str
    predictor: Optional[Predictor] = None
    extra: Any = None
    measure: Optional[Callable[[Genome], float]] = None
    _known: Dict[str, Point] = field(default_factory=dict)

    def __call__(self, genome: Genome) -> Point:
        """Return the point of an architecture."""
        key = genome_key(genome)
        if key not in self._known:
            self._known[key] = self._evaluate(genome)
        return self._known[key]

    def _evaluate(self, genome: Genome) -> Point:
        found = structure(self.space, genome, self.num_classes, self.predictor is not None)
        accuracy = math.nan
        if self.measure is not None:
            if self.space.contains(genome):
                accuracy = self.measure(genome)
        elif self.predictor is not None:
            numbers = found.numbers
            missing = [name for name in self.predictor.names if name not in numbers]
            if missing:
                numbers = {**numbers, **self.extra(genome, missing)}
            accuracy = self.predictor.predict(numbers, self.space.vector(genome))
        latency = float(self.table.predict(found.operators, self.precision))
        return Point(genome, accuracy, latency, found.memory(self.precision), found.params,
                     found.flops)


def objectives(points: Sequence[Point], names: Sequence[str]) -> List[List[float]]:
    """Return points as rows to be minimised: accuracy changes its sign.

    Args:
        points (Sequence[Point]): The points.
        names (Sequence[str]): ``'accuracy'``, ``'latency'``, ``'memory'``.
    """
    return [[-getattr(p, name) if name == 'accuracy' else getattr(p, name) for name in names]
            for p in points]
