"""The ranges that calibration found: what a quantised model consists of beside its weights."""
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Dict, Iterable, List, Union

import numpy as np

from mmyolonas.utils import UserError, write_text
from mmyolonas.utils.files import read_json
from mmyolonas.utils.typed import build

FORMAT = 'mmyolonas-ranges/1'


@dataclass
class RangeTable:
    """Ranges of activations and weights; scale = range / 127.

    Args:
        activations (dict[str, float]): Largest absolute value of each tensor
            class (:mod:`mmyolonas.quantization.graph.dataflow`) that is represented.
        weights (dict[str, list[float]]): Largest absolute weight of each output
            channel of each layer.
        method (str): How the activations' ranges were found.
        num_images (int): Calibration images.
        nonnegative (list[str]): Tensors from outside (the image) that were never negative.
        corrections (dict[str, list[float]]): What is added to the bias of a layer where it is 8
            bit, so that its mean output stays; see
            :mod:`mmyolonas.quantization.ranges.correction`.
        equalised (bool): Whether the channels of the model were balanced before.
    """
    activations: Dict[str, float] = field(default_factory=dict)
    weights: Dict[str, List[float]] = field(default_factory=dict)
    method: str = ''
    num_images: int = 0
    nonnegative: List[str] = field(default_factory=list)
    corrections: Dict[str, List[float]] = field(default_factory=dict)
    equalised: bool = False

    def save(self, path: Union[str, Path]) -> None:
        """Write the table as JSON, atomically.

        Args:
            path (str | Path): File to write.
        """
        write_text(path, json.dumps({'format': FORMAT, **asdict(self)}, indent=1) + '\n')

    @classmethod
    def load(cls, path: Union[str, Path]) -> 'RangeTable':
        """Read what :meth:`save` wrote.

        Args:
            path (str | Path): The file.

        Returns:
            RangeTable: The ranges.

        Raises:
            UserError: No such file, or it is no table of ranges.
        """
        def check(data: dict) -> 'RangeTable':
            if data.pop('format', None) != FORMAT:
                raise ValueError(f'its format is not {FORMAT}')
            return build(cls, data)

        return read_json(path, 'a table of ranges', check=check,
                         advice='tools/quantize.py writes one.')

    def check(self, layers: Iterable[str]) -> None:
        """Raise unless the table is of a model with these weighted layers.

        Args:
            layers (Iterable[str]): Names of the layers.

        Raises:
            UserError: Layers are missing, or a range is not a positive number.
        """
        missing = [layer for layer in layers if layer not in self.weights]
        if missing:
            raise UserError(
                f'the ranges are of another model: {len(missing)} layers are not among them, '
                f'first {missing[0]}. Calibrate this model with tools/quantize.py.')
        for name, value in self.activations.items():
            if not np.isfinite(value) or value <= 0:
                raise UserError(f'the range of {name} is {value}; calibrate again.')
