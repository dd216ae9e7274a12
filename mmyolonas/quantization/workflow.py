"""From a float model to 8-bit files: what ``tools/quantize.py`` does."""
import time
from dataclasses import asdict
from pathlib import Path
from typing import Dict, List, Optional, Tuple

import numpy as np

from mmyolonas.quantization.agreement import FakeQuantised
from mmyolonas.quantization.choice.costs import Costs
from mmyolonas.quantization.choice.evidence import score_plans
from mmyolonas.quantization.choice.latency import LatencyTable, find_boundaries
from mmyolonas.quantization.choice.noise import NoiseAnalysis
from mmyolonas.quantization.choice.plan import Plan, full_plan
from mmyolonas.quantization.choice.problem import (
    Budget,
    Choice,
    ChoiceProblem,
    PlanLatency,
    terms_of,
)
from mmyolonas.quantization.choice.reasons import make_plan
from mmyolonas.quantization.choice.scoring import Score, Scorer
from mmyolonas.quantization.choice.timing import measure_latency, time_plans
from mmyolonas.quantization.choice.variants import Variants
from mmyolonas.quantization.graph.qdq import insert_qdq
from mmyolonas.quantization.report import Report, Row
from mmyolonas.quantization.table import RangeTable
from mmyolonas.runtime.factory import ONNX_BACKENDS, open_session
from mmyolonas.runtime.timing import measure
from mmyolonas.utils import UserError
from mmyolonas.utils.files import write_onnx

#: How often a plan that misses its budget is tightened.
REPAIRS = 6


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
        span (str): See :func:`mmyolonas.quantization.insert_qdq`.
        reference (FakeQuantised, optional): What every 8-bit file is compared with, as
            its runtime runs it; None checks nothing.
    """

    def __init__(self, float_onnx: str, table: RangeTable, runtime: str, work_dir: str,
                 scorer: Optional[Scorer] = None, num_threads: int = 2,
                 span: str = 'full', judge: Optional[Scorer] = None,
                 reference: Optional[FakeQuantised] = None) -> None:
        self.float_onnx = str(float_onnx)
        self.runtime = runtime
        self.work_dir = Path(work_dir)
        self.scorer = scorer
        self.judge = judge or scorer
        # files for TensorRT are scored by stand-ins that mean the same numbers
        self.span = span = span if runtime in ONNX_BACKENDS else 'equal'
        self.reference = reference
        self.runner = runtime if runtime in ONNX_BACKENDS else 'onnxruntime'
        self.variants = Variants(self.float_onnx, table, self.runner, num_threads, span)
        self.table = table
        self.report = Report(runtime, settings=dict(
            calibration=table.method, calibration_images=table.num_images,
            threads=num_threads, scored_images=_count(self.scorer),
            judged_images=_count(self.judge), range=span))
        self._scores: Dict[Tuple[str, bool], Score] = {}

    # ------------------------------------------------------------- files
    def write(self, plan: Plan, name: str) -> str:
        """Write the file and the plan ``name``, check the file; return its path."""
        path = self.work_dir / f'{name}.onnx'
        selection = plan.selection(self.variants.flow)
        model = insert_qdq(self.variants.model, self.table, self.runtime, selection,
                           self.span)
        write_onnx(path, model)
        plan.save(self.work_dir / f'{name}.plan.json')
        if self.reference is not None and selection.layers:
            self.report.agreement[name] = found = self.reference.compare(
                str(path), self.runtime, selection, self.variants.num_threads)
            print(found.text(str(path)))
        return str(path)

    def score(self, names: List[str], label: str, judged: bool = False,
              path: Optional[str] = None) -> Optional[Score]:
        """Return the AP of some groups in 8 bit, or None without a scorer.

        Args:
            names (list[str]): Groups in 8 bit.
            label (str): Shown with the progress.
            judged (bool): On the images of the analysis. Defaults to False.
            path (str, optional): The file that was written of them, which is scored where its
                runtime is here; None for a temporary one.
        """
        scorer = self.judge if judged else self.scorer
        if scorer is None:
            return None
        written = path if self.runtime in ONNX_BACKENDS else None
        key = (written or '\n'.join(names), scorer is self.judge)
        if key not in self._scores:
            run = self.variants.open(names) if written is None else open_session(
                written, self.runtime, num_threads=self.variants.num_threads)
            self._scores[key] = scorer.score_file(run, f'AP {label}')
        return self._scores[key]

    def add_row(self, name: str, path: str, groups: List[str]) -> Row:
        """Score a file and add it to the report."""
        row = Row(name, path, size_mb=Path(path).stat().st_size / 1e6)
        score = self.score(groups, name, path=path)
        if score is not None:
            row.ap, row.ap50 = score.ap, score.ap50
            if groups and score.images:
                row.interval = list(score.interval(self.score(
                    [], 'float', path=self.float_onnx)))
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
        plan = full_plan(self.variants.groups, self.runtime)
        row = self.add_row('int8', self.write(plan, 'int8'), plan.int8_groups())
        self.report.seconds['full'] = time.monotonic() - start
        return row

    def analyse(self, num_images: int = 16, plans: int = 20) -> Costs:
        """Return what each tensor and weight costs, from the cache if there.

        Args:
            num_images (int): Images of the noise. Defaults to 16.
            plans (int): Random plans that are scored for the slope from noise to AP.
        """
        if self.judge is None or self.reference is None:
            raise UserError('the analysis needs images with annotations, and the fake-quantised '
                            'network.')
        images = [sample.inputs.numpy() for sample in self.judge.samples[:num_images]]
        start = time.monotonic()
        analysis = NoiseAnalysis(self.reference.quantised, images,
                                 self.work_dir / 'noise.cache.json')
        costs = analysis.run()
        score_plans(costs, analysis, self.variants.candidates, self._judged, plans,
                    self.work_dir / 'plans.cache.json',
                    f'{self.runner} {sorted(self.judge.image_ids)}')
        print('\n'.join(costs.lines()))
        costs.save(self.work_dir / 'costs.json')
        self.report.seconds['costs'] = time.monotonic() - start
        return costs

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

    def _judged(self, names: List[str], label: str = '', path: Optional[str] = None) -> Score:
        score = self.score(names, label or 'of a plan', judged=True, path=path)
        if score is None:
            raise UserError('a selective plan is verified by its AP, which needs annotated images.')
        return score

    def selective(self, costs: Costs, latency: LatencyTable, budget: Budget,
                  points: int = 5) -> Plan:
        """Choose, verify on the exported file, and repair if the budget is missed.

        Args:
            costs (Costs): What 8 bit costs in AP.
            latency (LatencyTable): What it gains in time.
            budget (Budget): What may be spent.
            points (int): Plans of the predicted frontier that are written and scored beside the
                chosen one. Defaults to 5.
        """
        start = time.monotonic()
        layers = {group.name: group.layers for group in self.variants.groups
                  if not group.is_prediction}
        boundaries = find_boundaries(self.variants)
        problem = ChoiceProblem(terms_of(costs, layers, list(boundaries.readers)),
                                PlanLatency(latency, boundaries))
        self.report.frontier = problem.frontier()
        self.report.evidence = asdict(costs)['plans']
        choice, limit = self._repaired(problem, budget)
        plan = make_plan(self.variants.groups, choice, problem, costs, self.runtime,
                         None if budget.ap is None else limit - choice.ap_bound)
        path = self.write(plan, 'selective')
        plain, score = self._judged([], 'float'), self._judged(choice.groups, 'selective', path)
        plan.numbers = dict(
            budget_ap=budget.ap, budget_ms=budget.ms, predicted_ap_loss=choice.ap_loss,
            predicted_ap_bound=choice.ap_bound, predicted_ms=choice.latency,
            verified_ap_loss=plain.ap - score.ap, verified_images=score.images,
            verified_interval=list(score.interval(plain)) if score.images else None,
            within_budget=self._spent(choice, budget, path) <= _allowed(budget))
        plan.save(self.work_dir / 'selective.plan.json')
        self.add_row('selective', path, choice.groups)
        self._measure_frontier(choice, points)
        self.report.seconds['choice'] = time.monotonic() - start
        return plan

    def _spent(self, choice: Choice, budget: Budget, path: Optional[str] = None) -> float:
        """Return what a choice takes of its budget when it is measured."""
        if budget.ap is not None:
            return self._judged([], 'float').ap - self._judged(choice.groups, path=path).ap
        if self.runtime not in ONNX_BACKENDS:
            return choice.latency
        return time_plans(self.variants, [choice.groups], title='time')[0]

    def _repaired(self, problem: ChoiceProblem, budget: Budget) -> Tuple[Choice, float]:
        """Return a choice that keeps its budget when measured, and the limit it was made by."""
        limit = _allowed(budget)
        solve = problem.fastest if budget.ap is not None else problem.most_accurate
        choice = solve(limit)
        for _ in range(REPAIRS):
            spent = self._spent(choice, budget)
            if spent <= _allowed(budget) or (budget.ap is not None and not choice.groups):
                break
            # what the prediction promised was not kept: promise less
            tighter = (min(0.6 * limit, 0.9 * choice.ap_bound) if budget.ap is not None
                       else limit * 0.98 * _allowed(budget) / spent)
            try:
                choice, limit = solve(tighter), tighter
            except UserError:  # nothing is that fast: the fastest there is
                return problem.fastest(float('inf')), tighter
        return choice, limit

    def _measure_frontier(self, chosen: Choice, points: int) -> None:
        """Write and score plans of the frontier that are neither float, full nor the chosen one."""
        known = [[], self.variants.candidates, chosen.groups]
        plans = [plan for plan in self.report.frontier if plan.groups not in known]
        places = np.unique(np.linspace(0, len(plans) - 1, points).round().astype(int))
        for number, place in enumerate(places if plans else (), 1):
            names = set(plans[place].groups)
            plan = full_plan(self.variants.groups, self.runtime)
            for entry in plan.groups:
                if entry.name not in names:
                    entry.precision = 'float'
            path = self.write(plan, f'frontier_{number}')
            self.add_row(f'frontier {number}', path, plans[place].groups)


def _allowed(budget: Budget) -> float:
    return budget.ap if budget.ap is not None else float(budget.ms or 0.)
