"""Measuring the table of operators on a target; :mod:`mmyolonas.search.latency.operator_table`."""
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, Sequence, Tuple, Union

import onnx
from torch import nn

from mmyolonas.runtime.machine import describe_machine
from mmyolonas.search.latency.operator_table import FORMAT, OperatorTable
from mmyolonas.search.latency.operators import Operator, sides
from mmyolonas.utils import UserError, track
from mmyolonas.utils.files import PathLike
from mmyolonas.utils.journal import Journal

Model = Union[nn.Module, onnx.ModelProto]


def measure_table(models: Iterable[Tuple[str, Union[Model, Callable[[], Model]]]],
                  target: str = 'onnxruntime', precisions: Sequence[str] = ('fp32', 'int8'),
                  input_size: Union[int, Sequence[int]] = 320, num_threads: int = 1,
                  path: PathLike = 'operators.json', repeats: int = 20) -> OperatorTable:
    """Measure networks and write the table of their operators.

    Stopped at any moment, the same call goes on behind the last network that was
    complete; a finished table is extended by networks it does not have.

    Args:
        models (Iterable[tuple]): Name and model (or a function that returns it, called
            if it is not measured yet), optionally followed by the input size. Instead of
            a model also its float export.
        target (str): ``'onnxruntime'``, ``'openvino'``, ``'tensorrt'`` or ``'tensorrt_rtx'``.
        precisions (Sequence[str]): ``'fp32'``, ``'int8'`` or, for TensorRT, ``'fp16'``.
        input_size (int | Sequence[int]): For models without one of their own.
        num_threads (int): Threads of the runtime. Defaults to 1.
        path (str | Path): Table to write; unfinished work is in ``<path>.journal``.
        repeats (int): Runs of each network. Defaults to 20.

    Returns:
        OperatorTable: The table.

    Raises:
        UserError: The target cannot be measured here, or ``path`` is something else or
            was measured elsewhere.
    """
    from mmyolonas.search.latency.operator_timing import check_target, export_network, time_network
    check_target(target, precisions)
    table = _table_to_extend(Path(path), target, num_threads)
    header = dict(format=FORMAT, repeats=repeats, target=target, precisions=list(precisions),
                  machine={k: v for k, v in table.machine.items() if k != 'date'})
    with Journal(f'{path}.journal', header) as journal:
        for line in list(journal):
            _take(table, line)
        done = {(record.name, *record.input_size) for record in table.networks}
        for name, model, *size in track(models, f'{target} operators'):
            pair = sides(size[0] if size else input_size)
            if (name, *pair) in done:
                continue
            model = model if isinstance(model, (nn.Module, onnx.ModelProto)) else model()
            if isinstance(model, nn.Module):
                model = export_network(model, pair)
            times = time_network(model, target, precisions, num_threads, repeats)
            line = dict(name=name, input_size=list(pair), precisions={
                key: dict(median=value.total.median, best=value.total.best, rest=value.rest,
                          times=[[op.row(), round(ms, 5)] for op, ms in value.operators])
                for key, value in times.items()})
            journal.write(line)
            _take(table, line)
        table.save(path)
        journal.remove()
    return table


def _take(table: OperatorTable, line: Dict[str, Any]) -> None:
    """Add a line of the journal to a table."""
    for precision, found in line['precisions'].items():
        times = [(Operator(*row), ms) for row, ms in found['times']]
        table.add(line['name'], line['input_size'], precision, found['median'], found['best'],
                  times, found['rest'])


def _table_to_extend(path: Path, target: str, num_threads: int) -> OperatorTable:
    """Return the table at ``path``, or an empty one of this machine."""
    machine = describe_machine(target, num_threads)
    if not path.exists():
        return OperatorTable(target, machine)
    table = OperatorTable.load(path, warn=False)
    differ = [key for key in machine if key not in ('date', 'system') and
              table.machine.get(key) != machine[key]]
    if table.target != target or differ:
        raise UserError(f'{path} holds times of {table.target} measured with another '
                        f'{", ".join(differ) or "target"}; give another file.')
    return table
