"""From a float model to 8-bit files: what ``tools/quantize.py`` does."""
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import numpy as np

from mmyolonas.quantization.agreement import Agreement, FakeQuantised
from mmyolonas.quantization.choice.latency import LatencyTable, find_boundaries
from mmyolonas.quantization.choice.plan import Plan, PlanEntry, full_plan
from mmyolonas.quantization.choice.problem import Choice, ChoiceProblem
from mmyolonas.quantization.choice.scoring import Score, Scorer
from mmyolonas.quantization.choice.sensitivity import Sensitivity, SensitivityAnalysis
from mmyolonas.quantization.choice.timing import measure_latency
from mmyolonas.quantization.choice.variants import Variants
from mmyolonas.quantization.graph.qdq import insert_qdq
from mmyolonas.quantization.table import RangeTable
from mmyolonas.runtime.factory import ONNX_BACKENDS, open_session
from mmyolonas.runtime.timing import measure
from mmyolonas.utils import UserError, write_json
from mmyolonas.utils.files import write_onnx

#: How often a plan that misses its budget is tightened.
REPAIRS = 6


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
        seconds (dict[str, float]): Time of each step.
        settings (dict): Calibration, images, threads.
        agreement (dict[str, Agreement]): Of each checked file with the
            fake-quantised network.
    """
    runtime: str
    rows: List[Row] = field(default_factory=list)
    frontier: List[Choice] = field(default_factory=list)
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


def _count(scorer: Optional[Scorer]) -> int:
    return 0 if scorer is None else len(scorer.samples)


class Workflow:
    """Make 8-bit files of one float export, and measure them.

    Args:
        float_onnx (str): Float export without NMS in the graph.
        table (RangeTable): Ranges.
        runtime (str): ``'onnxruntime'``, ``'openvino'``, ``'tensorrt'`` or
            ``'tensorrt_rtx'``.
        work_dir (str): Folder to write to.
        scorer (Scorer, optional): For the AP of the report; without it nothing is
            scored.
        judge (Scorer, optional): For the AP that the analysis and the choice go
            by. It should have other images than ``scorer``: a plan that is chosen
            on the images it is reported on looks better than it is. Defaults to
            ``scorer``.
        num_threads (int): Threads of the runtime. Defaults to 2.
        headroom (bool): See :func:`mmyolonas.quantization.insert_qdq`.
        reference (FakeQuantised, optional): What every 8-bit file is compared with, as
            its runtime runs it; None checks nothing.
    """

    def __init__(self, float_onnx: str, table: RangeTable, runtime: str, work_dir: str,
                 scorer: Optional[Scorer] = None, num_threads: int = 2,
                 headroom: bool = False, judge: Optional[Scorer] = None,
                 reference: Optional[FakeQuantised] = None) -> None:
        self.float_onnx = str(float_onnx)
        self.runtime = runtime
        self.work_dir = Path(work_dir)
        self.scorer = scorer
        self.judge = judge or scorer
        self.headroom = headroom
        self.reference = reference
        # files for TensorRT are scored here too: they are the same numbers
        self.runner = runtime if runtime in ONNX_BACKENDS else 'onnxruntime'
        self.variants = Variants(self.float_onnx, table, self.runner, num_threads, headroom)
        self.table = table
        self.report = Report(runtime, settings=dict(
            calibration=table.method, calibration_images=table.num_images,
            threads=num_threads, scored_images=_count(self.scorer),
            judged_images=_count(self.judge), headroom=headroom))
        self._scores: Dict[Tuple[str, bool], Score] = {}

    # ------------------------------------------------------------- files
    def write(self, plan: Plan, name: str) -> str:
        """Write the file and the plan ``name``, check the file; return its path."""
        path = self.work_dir / f'{name}.onnx'
        selection = plan.selection(self.variants.flow)
        model = insert_qdq(self.variants.model, self.table, self.runtime, selection,
                           self.headroom)
        write_onnx(path, model)
        plan.save(self.work_dir / f'{name}.plan.json')
        if self.reference is not None and selection.layers:
            self.report.agreement[name] = found = self.reference.compare(
                str(path), self.runtime, selection, self.variants.num_threads)
            print(found.text(str(path)))
        return str(path)

    def score(self, names: List[str], label: str, judged: bool = False) -> Optional[Score]:
        """Return the AP of some groups in 8 bit, or None without a scorer.

        Args:
            names (list[str]): Groups in 8 bit.
            label (str): Shown with the progress.
            judged (bool): On the images of the analysis. Defaults to False.
        """
        scorer = self.judge if judged else self.scorer
        if scorer is None:
            return None
        key = ('\n'.join(names), scorer is self.judge)
        if key not in self._scores:
            self._scores[key] = scorer.score_file(self.variants.open(names), f'AP {label}')
        return self._scores[key]

    def add_row(self, name: str, path: str, groups: List[str]) -> Row:
        """Score a file and add it to the report."""
        row = Row(name, path, size_mb=Path(path).stat().st_size / 1e6)
        score = self.score(groups, name)
        if score is not None:
            row.ap, row.ap50 = score.ap, score.ap50
            if groups:
                row.interval = list(score.interval(self.score([], 'float')))
        self.report.rows.append(row)
        return row

    def time_rows(self, repeats: int = 15) -> None:
        """Time all files of the report in turn, where the runtime is here."""
        if self.runtime not in ONNX_BACKENDS:
            return
        image = np.random.default_rng(0).random(self.variants.input_shape(), np.float32)
        runs = {row.name: open_session(row.path, self.runtime,
                                       num_threads=self.variants.num_threads)
                for row in self.report.rows}
        for row, value in zip(self.report.rows, measure(runs, image, repeats=repeats).values()):
            row.latency_ms = value.median

    # ------------------------------------------------------------- methods
    def full(self) -> Row:
        """Write and score full INT8, after float."""
        start = time.monotonic()
        if not self.report.rows:
            self.add_row('float', self.float_onnx, [])
        plan = full_plan(self.variants.groups, self.runtime, self.headroom)
        row = self.add_row('int8', self.write(plan, 'int8'), plan.int8_groups())
        self.report.seconds['full'] = time.monotonic() - start
        return row

    def analyse(self, num_images: int = 8, measure_groups: bool = True) -> Sensitivity:
        """Return what each group costs, from the cache if there."""
        if self.judge is None:
            raise UserError('the analysis needs images with annotations.')
        images = [sample.inputs.numpy() for sample in self.judge.samples[:num_images]]
        start = time.monotonic()
        sensitivity = SensitivityAnalysis(
            self.variants, images, self.judge, self.work_dir / 'sensitivity.cache.json',
            measure_groups).run()
        sensitivity.save(self.work_dir / 'sensitivity.json')
        self.report.seconds['sensitivity'] = time.monotonic() - start
        return sensitivity

    def latency(self, path: Optional[str] = None, **kwargs) -> LatencyTable:
        """Return the groups' times: from a file, or measured here and written to one.

        Raises:
            UserError: The runtime is not here and there is no file.
        """
        if path is not None:
            table = LatencyTable.load(path)
            table.check(self.variants.candidates, path)
            return table
        if self.runtime not in ONNX_BACKENDS:
            raise UserError(f'{self.runtime} cannot be timed here; give --latency-table FILE '
                            'with the times of the target.')
        start = time.monotonic()
        table = measure_latency(self.variants, **kwargs)
        print('\n'.join(table.lines()))
        table.save(self.work_dir / 'latency.json')
        self.report.seconds['latency'] = time.monotonic() - start
        return table

    def _judged_ap(self, names: List[str], label: str) -> float:
        score = self.score(names, label, judged=True)
        if score is None:
            raise UserError('a selective plan is verified by its AP, which needs annotated images.')
        return score.ap

    def selective(self, sensitivity: Sensitivity, latency: LatencyTable,
                  budget: float) -> Plan:
        """Choose, verify on the exported file, and repair if the budget is missed."""
        start = time.monotonic()
        losses = sensitivity.losses()
        problem = ChoiceProblem(latency, find_boundaries(self.variants), losses)
        self.report.frontier = problem.frontier()
        limit, choice = budget, problem.fastest(budget)
        float_ap = self._judged_ap([], 'float')
        for _ in range(REPAIRS):
            lost = float_ap - self._judged_ap(choice.groups, 'selective')
            if lost <= budget or not choice.groups:
                break
            # what the sum of the parts promised was not kept: promise less
            limit = min(0.6 * limit, 0.9 * choice.ap_loss)
            choice = problem.fastest(limit)
        lost = float_ap - self._judged_ap(choice.groups, 'selective')
        plan = make_plan(self.variants, choice, problem, sensitivity, self.runtime,
                         self.headroom, limit - choice.ap_loss)
        plan.numbers = dict(budget_ap=budget, predicted_ap_loss=choice.ap_loss,
                            predicted_ms=choice.latency, verified_ap_loss=lost,
                            within_budget=bool(lost <= budget))
        self.add_row('selective', self.write(plan, 'selective'), choice.groups)
        self.report.seconds['choice'] = time.monotonic() - start
        return plan


def make_plan(variants: Variants, choice: Choice, problem: ChoiceProblem,
              sensitivity: Sensitivity, runtime: str, headroom: bool, room: float) -> Plan:
    """Return a choice as a plan with a reason for each group.

    Args:
        variants (Variants): Files.
        choice (Choice): What was chosen.
        problem (ChoiceProblem): What it was chosen from.
        sensitivity (Sensitivity): Costs of the groups.
        runtime (str): Runtime of the plan.
        headroom (bool): See :func:`mmyolonas.quantization.insert_qdq`.
        room (float): Points of AP that the choice leaves of its budget.
    """
    entries, chosen = [], set(choice.groups)
    for group in variants.groups:
        name = group.name
        if group.is_prediction:
            entries.append(PlanEntry(name, 'float', 'makes a prediction'))
            continue
        loss = problem.losses[name]
        gain = problem.latency.float_ms[name] - problem.latency.int8_ms[name]
        rate = f'{loss:.3f} AP for {gain:.2f} ms, {sensitivity.groups[name].sqnr:.1f} dB alone'
        if name in chosen:
            entries.append(PlanEntry(name, 'int8', f'worth it: {rate}', loss, gain))
        else:
            why = ('slower in 8 bit' if gain <= 0 else 'too dear' if loss > room else
                   'switching costs more than it gains')
            entries.append(PlanEntry(name, 'float', f'{why}: {rate}', loss, gain))
    return Plan(entries, runtime, headroom=headroom)
