"""What was measured of 8-bit files."""
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional

from mmyolonas.quantization.agreement import Agreement
from mmyolonas.quantization.choice.problem import Choice
from mmyolonas.utils import write_json


@dataclass
class Row:
    """One file, measured.

    Args:
        name (str): ``'float'``, ``'int8'``, ``'selective'`` ...
        path (str): The file.
        ap (float, optional): Points of AP.
        ap50 (float, optional): Points of AP at .50.
        interval (list[float], optional): Bootstrap interval (95 %) of the points
            lost against float.
        latency_ms (float, optional): Median time of a run.
        size_mb (float): Megabytes.
    """
    name: str
    path: str
    ap: Optional[float] = None
    ap50: Optional[float] = None
    interval: Optional[List[float]] = None
    latency_ms: Optional[float] = None
    size_mb: float = 0.


@dataclass
class Report:
    """Everything that was measured.

    Args:
        runtime (str): Runtime of the files.
        rows (list[Row]): Files.
        frontier (list[Choice]): Plans, as predicted.
        evidence (list[dict]): Random plans behind the predicted losses; see
            :class:`mmyolonas.quantization.choice.costs.PlanLoss`.
        seconds (dict[str, float]): Time of each step.
        settings (dict): Calibration, images, threads.
        agreement (dict[str, Agreement]): Of each checked file with the
            fake-quantised network.
    """
    runtime: str
    rows: List[Row] = field(default_factory=list)
    frontier: List[Choice] = field(default_factory=list)
    evidence: List[Dict[str, Any]] = field(default_factory=list)
    seconds: Dict[str, float] = field(default_factory=dict)
    settings: Dict[str, Any] = field(default_factory=dict)
    agreement: Dict[str, Agreement] = field(default_factory=dict)

    def save(self, path: Path) -> None:
        """Write the report as JSON, atomically."""
        write_json(path, asdict(self))

    def lines(self) -> List[str]:
        """Return the report as a table for the terminal."""
        lines = [f'{"model":<12}{"AP":>7}{"AP50":>7}{"lost, 95 % interval":>24}{"ms":>9}{"MB":>8}']
        for row in self.rows:
            spread, whole = '', self.rows[0].ap
            if row.interval is not None and row.ap is not None and whole is not None:
                low, high = row.interval
                spread = f'{whole - row.ap:+.2f} [{low:+.2f}, {high:+.2f}]'
            lines.append(f'{row.name:<12}{_number(row.ap, 7, 2)}{_number(row.ap50, 7, 1)}'
                         f'{spread:>24}{_number(row.latency_ms, 9, 1)}{row.size_mb:>8.1f}')
        return lines


def _number(value: Optional[float], width: int, digits: int) -> str:
    return f'{"-":>{width}}' if value is None else f'{value:>{width}.{digits}f}'
