"""A plan: which groups are 8 bit, with the reason and the numbers behind it."""
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterable, List, Optional, Union

from mmyolonas.quantization.graph.dataflow import Dataflow
from mmyolonas.quantization.graph.groups import Group, find_groups
from mmyolonas.quantization.graph.selection import Selection, select
from mmyolonas.utils import UserError, write_text
from mmyolonas.utils.files import read_json
from mmyolonas.utils.typed import build

FORMAT = 'mmyolonas-plan/1'
PRECISIONS = ('int8', 'float')


@dataclass
class PlanEntry:
    """Decision on one group.

    Args:
        name (str): Group; see :mod:`mmyolonas.quantization.graph.groups`.
        precision (str): ``'int8'`` or ``'float'``.
        reason (str): Why, in words.
        ap_loss (float, optional): Points of AP that 8 bit costs here.
        gain_ms (float, optional): Milliseconds that 8 bit saves here, without
            the cost of switching.
        ap_interval (list[float], optional): One-sided bounds (95 % each) of ``ap_loss``.
    """
    name: str
    precision: str
    reason: str = ''
    ap_loss: Optional[float] = None
    gain_ms: Optional[float] = None
    ap_interval: Optional[List[float]] = None


@dataclass
class Plan:
    """Which groups are 8 bit.

    Args:
        groups (list[PlanEntry]): Every group of the model, in order of execution.
        runtime (str): Runtime it was made for.
        numbers (dict): What was predicted and measured, for the reader.
    """
    groups: List[PlanEntry]
    runtime: str = 'onnxruntime'
    numbers: Dict[str, Any] = field(default_factory=dict)

    def int8_groups(self) -> List[str]:
        """Return the names of the 8-bit groups."""
        return [entry.name for entry in self.groups if entry.precision == 'int8']

    def selection(self, flow: Dataflow) -> Selection:
        """Return what is 8 bit in a model.

        Raises:
            UserError: The plan is for another model, or a precision is unknown.
        """
        known = {group.name: group for group in find_groups(flow)}
        for entry in self.groups:
            if entry.precision not in PRECISIONS:
                raise UserError(f'plan: precision of {entry.name} must be int8 or float, '
                                f'got {entry.precision!r}.')
        unknown = [entry.name for entry in self.groups if entry.name not in known]
        missing = set(known) - {entry.name for entry in self.groups}
        if unknown or missing:
            example = f'it names {unknown[0]}' if unknown else f'it lacks {sorted(missing)[0]}'
            raise UserError(f'the plan is for another model: {example}. '
                            'Make one for this model with tools/quantize.py.')
        return selection_of(flow, self.int8_groups())

    def check_runtime(self, runtime: str) -> None:
        """Say so if the plan was made for another runtime, whose times are others.

        Args:
            runtime (str): Where it is used.
        """
        if runtime != self.runtime:
            print(f'the plan was made for {self.runtime}: what it leaves float for the sake of '
                  f'time may be another choice in {runtime}.')

    def save(self, path: Union[str, Path]) -> None:
        """Write the plan as JSON, one group a line, atomically."""
        data = {'format': FORMAT, **asdict(self)}
        rows = [{key: value for key, value in row.items() if value not in (None, '')}
                for row in data.pop('groups')]
        head = json.dumps(data, indent=1)[:-2]
        lines = ',\n'.join(f'  {json.dumps(row)}' for row in rows)
        write_text(path, f'{head},\n "groups": [\n{lines}\n ]\n}}\n')

    @classmethod
    def load(cls, path: Union[str, Path]) -> 'Plan':
        """Read what :meth:`save` wrote.

        Raises:
            UserError: No such file, or it is no plan.
        """
        def check(data: Dict[str, Any]) -> 'Plan':
            if data.pop('format', None) != FORMAT:
                raise ValueError(f'its format is not {FORMAT}')
            return build(cls, data)

        return read_json(path, 'a plan', check=check, advice='tools/quantize.py writes one.')


def selection_of(flow: Dataflow, names: Iterable[str]) -> Selection:
    """Return what is 8 bit if these groups are."""
    groups = {group.name: group for group in find_groups(flow)}
    layers = [layer for name in names for layer in groups[name].layers]
    return select(flow, layers)


def full_plan(groups: Iterable[Group], runtime: str) -> Plan:
    """Return the plan of full INT8: all but the predictions."""
    entries = [PlanEntry(group.name, 'float', 'makes a prediction') if group.is_prediction
               else PlanEntry(group.name, 'int8') for group in groups]
    return Plan(entries, runtime)
