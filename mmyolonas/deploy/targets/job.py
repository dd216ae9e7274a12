"""What driver and converter tell each other, as JSON files."""
from dataclasses import dataclass, field
from typing import Any, Dict, List, Optional

import numpy as np

from mmyolonas.runtime.side_car import SideCar


@dataclass
class Job:
    """A conversion.

    Args:
        target (str): Name of the target.
        source (str): ONNX file, or program.
        folder (str): Folder to write to; empty.
        stem (str): Name of the files without suffix.
        side_car (SideCar): Description of the ONNX file.
        options (dict): ``backend_config`` without ``type`` and ``python``.
        feeds (str): ``.npz`` of inputs ``0``, ``1``, ... (1, 3, H, W) to run; '' for none.
        calibration (list[str]): PNG files of the network's size, whose RGB channels are the
            network's first to third; for quantisers.
    """
    target: str
    source: str
    folder: str
    stem: str
    side_car: SideCar
    options: Dict[str, Any] = field(default_factory=dict)
    feeds: str = ''
    calibration: List[str] = field(default_factory=list)

    def images(self) -> List[np.ndarray]:
        """Return the inputs to run."""
        if not self.feeds:
            return []
        with np.load(self.feeds, allow_pickle=False) as stored:
            return [stored[str(index)] for index in range(len(stored.files))]


@dataclass
class Converted:
    """What a recipe returns.

    Args:
        files (list[str]): Names within the job's folder; the runtime loads the first.
        versions (dict[str, str]): Packages that took part.
        outputs (list[list[ndarray]], optional): Outputs for each of the job's images, in the
            order of the description, from a simulator.
    """
    files: List[str]
    versions: Dict[str, str] = field(default_factory=dict)
    outputs: Optional[List[List[np.ndarray]]] = None


def versions(*packages: str) -> Dict[str, str]:
    """Return the installed versions of distributions.

    Args:
        *packages (str): Names on PyPI.
    """
    from importlib.metadata import PackageNotFoundError, version
    found = {}
    for name in packages:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found
