"""Latency of a network as the sum of its operators, measured on one machine."""
import json
import warnings
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from mmyolonas.runtime.machine import describe_machine
from mmyolonas.search.latency.operator_model import (
    Accuracy,
    KindModel,
    OperatorModel,
    accuracy,
    relative_nnls,
)
from mmyolonas.search.latency.operators import Operator, boundary_operators
from mmyolonas.utils import UserError, write_text
from mmyolonas.utils.files import PathLike, read_json
from mmyolonas.utils.typed import build

FORMAT = 'mmyolonas-operators/1'
#: Parts into which networks are divided to see how well a table predicts others.
FOLDS = 5
Network = Sequence[Operator]


@dataclass
class NetworkRecord:
    """What was measured of one network in one precision.

    Args:
        name (str): Name of the network.
        input_size (list[int]): Height and width.
        precision (str): Precision.
        median (float): Milliseconds of the whole, median of the runs.
        best (float): Shortest run.
        times (list): Place in the table's operators, and milliseconds, of each.
        rest (float): Milliseconds of kernels that belong to no operator.
    """
    name: str
    input_size: List[int]
    precision: str
    median: float
    best: float
    times: List[Tuple[int, float]]
    rest: float = 0.


@dataclass
class _Fit:
    """Model of one precision: operators, and from their sum to the whole."""
    model: OperatorModel
    whole: List[float]
    accuracy: Optional[Accuracy] = None
    exact: Dict[Operator, float] = field(default_factory=dict)
    between: Dict[Operator, float] = field(default_factory=dict)

    def times(self, operators: Sequence[Operator]) -> np.ndarray:
        """Return the milliseconds of operators: measured, else interpolated."""
        new = list({op for op in operators if op not in self.exact and op not in self.between})
        self.between.update(zip(new, self.model.predict(new).tolist()))
        return np.array([self.exact[op] if op in self.exact else self.between[op]
                         for op in operators])


class OperatorTable:
    """Times of operators on a target, and what follows for a network.

    Args:
        target (str): ``'onnxruntime'``, ``'openvino'``, ``'tensorrt'`` or ``'tensorrt_rtx'``.
        machine (dict): What it was measured on; see
            :func:`mmyolonas.runtime.machine.describe_machine`.
        networks (list[NetworkRecord]): Measurements.
        operators (list[Operator]): Operators, which ``networks`` count.
    """

    def __init__(self, target: str, machine: Dict[str, Any],
                 networks: Optional[List[NetworkRecord]] = None,
                 operators: Optional[List[Operator]] = None) -> None:
        self.target = target
        self.machine = dict(machine)
        self.networks = list(networks or ())
        self.operators = list(operators or ())
        self._places = {operator: place for place, operator in enumerate(self.operators)}
        self._fits: Dict[str, _Fit] = {}
        self._known: Dict[str, Dict[str, Any]] = {}

    # ------------------------------------------------------------- prediction
    @property
    def precisions(self) -> List[str]:
        """list[str]: What was measured."""
        return sorted({record.precision for record in self.networks})

    def predict(self, operators: Network, precision: str = 'fp32') -> float:
        """Return the latency of a network in milliseconds: the median of its runs.

        Args:
            operators (Sequence[Operator]): Of :func:`mmyolonas.search.latency.operators.operators`.
            precision (str): ``'fp32'``, ``'int8'`` or, for TensorRT, ``'fp16'``. INT8
                is full INT8 with float predictions, switching included.

        Raises:
            UserError: Nothing was measured in this precision.
        """
        return float(self.predict_many([operators], precision)[0])

    def predict_many(self, networks: Sequence[Network], precision: str = 'fp32') -> np.ndarray:
        """Return the latencies of networks in milliseconds; see :meth:`predict`."""
        fit = self._fit_of(precision)
        networks = [[_as_in(op, precision) for op in network] for network in networks]
        missing = fit.model.unknown([op for network in networks for op in network])
        if missing:
            warnings.warn(f'the table has no times of {", ".join(missing)}; they count as nothing. '
                          'Measure networks that have them.', stacklevel=2)
        return self._sums(networks, fit, precision) @ np.asarray(fit.whole)

    def operator_ms(self, operator: Operator, precision: str = 'fp32') -> float:
        """Return the time of an operator: measured, else interpolated."""
        return float(self._fit_of(precision).times([_as_in(operator, precision)])[0])

    def accuracy(self, precision: str = 'fp32') -> Optional[Accuracy]:
        """Return how well networks left out of the fit were predicted (cross-validation).

        None if there are fewer than ten.
        """
        return self._fit_of(precision).accuracy

    @staticmethod
    def _sums(networks: Sequence[Network], fit: _Fit, precision: str) -> np.ndarray:
        """Return (N, 3): 1, number of operators, sum of their times."""
        if precision == 'int8':
            networks = [[*network, *boundary_operators(network)] for network in networks]
        fit.times([op for network in networks for op in network])  # all at once is quicker
        return np.array([[1., len(network), fit.times(network).sum()]
                         for network in networks]).reshape(-1, 3)

    # ---------------------------------------------------------------- fitting
    def _fit_of(self, precision: str) -> _Fit:
        if precision not in self.precisions:
            raise UserError(f'the table was measured in {", ".join(self.precisions) or "nothing"},'
                            f' not in {precision}; measure it again with that precision.')
        if precision not in self._fits:
            self._fits[precision] = self._fit(precision)
        return self._fits[precision]

    def _records(self, precision: str) -> List[NetworkRecord]:
        return [record for record in self.networks if record.precision == precision]

    def _fit(self, precision: str) -> _Fit:
        """Fit all measurements of a precision, or take what was fitted before."""
        records = self._records(precision)
        known = self._known.get(precision)
        if known is not None and known['networks'] == len(records):
            fit = self._operators_fit(records, known['interpolate'], known['kinds'])
            fit.whole, fit.accuracy = known['whole'], known['accuracy']
            return fit
        # what other networks see: interpolation stays if it helps networks left out
        choices = [False, True] if len(records) >= 2 * FOLDS else [False]
        fits = [self._whole_fit(records, interpolate) for interpolate in choices]
        return min(fits, key=lambda fit: fit.accuracy.error if fit.accuracy else 0.)

    def _whole_fit(self, records: Sequence[NetworkRecord], interpolate: bool) -> _Fit:
        """Fit operators, and the whole to sums of operators of networks left out."""
        fit = self._operators_fit(records, interpolate)
        measured = np.array([record.median for record in records])
        if len(records) < 2 * FOLDS:
            fit.whole = relative_nnls(
                self._sums([self.network(r) for r in records], fit, ''), measured)
            return fit
        sums = self._out_of_fold(records, fit)
        fit.whole = relative_nnls(sums, measured)
        fit.accuracy = accuracy(sums @ np.array(fit.whole), measured)
        return fit

    def _operators_fit(self, records: Sequence[NetworkRecord], interpolate: bool,
                       kinds: Optional[Dict[str, KindModel]] = None) -> _Fit:
        """Fit the operators of some networks, with known models of the kinds if given."""
        times: Dict[Operator, List[float]] = {}
        for record in records:
            for place, value in record.times:
                times.setdefault(self.operators[place], []).append(value)
        exact = {operator: float(np.median(values)) for operator, values in times.items()}
        samples = {op: (value, len(times[op])) for op, value in exact.items()}
        model = OperatorModel(interpolate, {
            kind: KindModel(known.rates, known.scales, known.signal, known.noise)
            for kind, known in (kinds or {}).items()})
        return _Fit(model.fit(samples), [0., 0., 1.], exact=exact)

    def _out_of_fold(self, records: Sequence[NetworkRecord], fit: _Fit) -> np.ndarray:
        """Return :meth:`_sums` of each network by a fit to the others."""
        sums = np.zeros((len(records), 3))
        folds = np.random.default_rng(0).permutation(len(records)) % FOLDS
        interpolate = fit.model.interpolate
        for fold in range(FOLDS):
            part = self._operators_fit([r for r, f in zip(records, folds) if f != fold],
                                       interpolate, fit.model.kinds if interpolate else None)
            chosen = np.flatnonzero(folds == fold)
            sums[chosen] = self._sums([self.network(records[i]) for i in chosen], part, '')
        return sums

    def network(self, record: NetworkRecord) -> List[Operator]:
        """Return the operators of a measured network, boundaries included."""
        return [self.operators[place] for place, _ in record.times]

    # ------------------------------------------------------------------ files
    def add(self, name: str, input_size: Sequence[int], precision: str, median: float,
            best: float, times: Sequence[Tuple[Operator, float]], rest: float = 0.) -> None:
        """Take in the measurement of a network."""
        rows = []
        for operator, value in times:
            operator = _as_in(operator, precision)
            if operator not in self._places:
                self._places[operator] = len(self.operators)
                self.operators.append(operator)
            rows.append((self._places[operator], round(value, 5)))
        self.networks.append(NetworkRecord(name, list(input_size), precision, median, best, rows,
                                           rest))
        self._fits.clear()

    def save(self, path: PathLike) -> None:
        """Write the table, with what was fitted, as JSON, atomically."""
        fits = {}
        for precision in self.precisions:
            fit = self._fit_of(precision)
            fits[precision] = dict(
                networks=len(self._records(precision)), whole=fit.whole,
                interpolate=fit.model.interpolate,
                accuracy=fit.accuracy and asdict(fit.accuracy),
                kinds={kind: dict(rates=m.rates, scales=m.scales, signal=m.signal, noise=m.noise)
                       for kind, m in fit.model.kinds.items()})
        data = dict(format=FORMAT, target=self.target, machine=self.machine, fits=fits,
                    operators=[operator.row() for operator in self.operators],
                    networks=[asdict(record) for record in self.networks])
        write_text(path, json.dumps(data) + '\n')

    @classmethod
    def load(cls, path: PathLike, num_threads: Optional[int] = None,
             warn: bool = True) -> 'OperatorTable':
        """Read a table.

        Args:
            path (str | Path): File of :meth:`save`.
            num_threads (int, optional): Threads that are wanted; None for those of
                the table.
            warn (bool): Whether to warn if it was measured on another machine, with
                another version of the runtime or another number of threads.

        Raises:
            UserError: No such file, or it is no table of operators.
        """
        try:
            data = read_json(path, 'a table of operator latencies')
            if data.get('format') != FORMAT:
                raise UserError(f'{path} is no table of operator latencies; '
                                'tools/search.py latency writes one.')
            for key, kind in (('target', str), ('machine', dict)):
                if not isinstance(data[key], kind) or data[key] == '':
                    raise TypeError(f'{key} is {str(data[key])[:40]!r}')
            table = cls(data['target'], data['machine'],
                        [build(NetworkRecord, record) for record in data['networks']],
                        [Operator(*row) for row in data['operators']])
            for precision, known in data['fits'].items():
                known['kinds'] = {k: KindModel(**m) for k, m in known['kinds'].items()}
                known['accuracy'] = known['accuracy'] and Accuracy(**known['accuracy'])
                table._known[precision] = known
        except (OSError, ValueError, TypeError, LookupError, AttributeError) as error:
            raise UserError(f'{path} is no table of operator latencies ({error}).') from error
        if warn:
            table.warn_elsewhere(str(path), num_threads)
        return table

    def warn_elsewhere(self, source: str = 'the table',
                       num_threads: Optional[int] = None) -> None:
        """Warn in one line if this is not the machine of the measurement."""
        here = describe_machine(self.target, num_threads or self.machine.get('num_threads', 1))
        differ = [f'{key} {self.machine.get(key)} (here {here[key]})'
                  for key in ('cpu', 'gpu', 'runtime_version', 'num_threads')
                  if self.machine.get(key) != here[key]]
        if differ:
            warnings.warn(f'{source} was measured elsewhere: {", ".join(differ)}; its times hold '
                          'there, not here.', stacklevel=3)


def _as_in(operator: Operator, precision: str) -> Operator:
    """Return an operator without what makes no difference in a precision."""
    if operator.float_output and precision != 'int8':
        return replace(operator, float_output=False)
    return operator
