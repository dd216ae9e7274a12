"""What the choice goes by: losses, switching, the repair, the reasons in a plan."""
import json
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from mmyolonas.quantization import Selection, default_layers, select
from mmyolonas.quantization import workflow as workflow_module
from mmyolonas.quantization.choice import timing as timing_module
from mmyolonas.quantization.choice.costs import Costs, Estimate, Noise, PlanLoss, fit_slope
from mmyolonas.quantization.choice.evidence import score_plans
from mmyolonas.quantization.choice.latency import LatencyTable, find_boundaries
from mmyolonas.quantization.choice.noise import NoiseAnalysis, divergence, score_divergence
from mmyolonas.quantization.choice.plan import selection_of
from mmyolonas.quantization.choice.problem import (
    Budget,
    ChoiceProblem,
    PlanLatency,
    choose,
    terms_of,
)
from mmyolonas.quantization.choice.reasons import make_plan
from mmyolonas.quantization.choice.timing import measure_latency
from mmyolonas.quantization.choice.variants import Variants
from mmyolonas.quantization.graph.qdq import count_pairs
from mmyolonas.quantization.workflow import Workflow
from mmyolonas.runtime.timing import Latency
from mmyolonas.utils import UserError

from .conftest import images


@pytest.fixture
def variants(float_onnx, calibrated):
    return Variants(float_onnx, calibrated[1], 'onnxruntime', num_threads=1)


@pytest.fixture
def costs(variants):
    """Costs in which the first groups make the most noise, exactly known."""
    names = variants.candidates
    rank = {layer: names.index(group.name) for group in variants.groups
            if not group.is_prediction for layer in group.layers}
    weights = {layer: Noise([2. ** -place] * 2) for layer, place in rank.items()}
    classes = select(variants.flow, list(rank)).classes
    return Costs({name: Noise([0.01] * 2) for name in classes}, weights,
                 Estimate(1., 1., 1.), [PlanLoss(2, 1., 1.), PlanLoss(3, 2., 2.)], 50., 20)


def problem_of(variants, costs, table):
    layers = {group.name: group.layers for group in variants.groups if not group.is_prediction}
    boundaries = find_boundaries(variants)
    return ChoiceProblem(terms_of(costs, layers, list(boundaries.readers)),
                         PlanLatency(table, boundaries))


def test_noise_has_an_interval():
    noise = Noise([1., 2., 3., 6.])
    # mean 3, standard deviation of the mean 1.08, t of 3 degrees of freedom at 95 % 2.353
    assert noise.end(1) == pytest.approx(3 + 2.353 * 1.0801, rel=1e-3)
    assert noise.end(-1) == pytest.approx(3 - 2.353 * 1.0801, rel=1e-3)
    assert Noise([2.]).end(1) == 2.


def test_costs_are_noise_times_slope():
    costs = Costs({'t': Noise([1., 3.])}, {'a': Noise([2., 2.])}, Estimate(0.5, 0.25, 1.))
    found = costs.cost(['t', 'unknown'], ['a'])
    assert found.value == pytest.approx(0.5 * (2 + 2))
    assert found.low == pytest.approx(0.25 * (2 + max(2 - 6.314 * 1, 0)), rel=1e-3)
    assert found.high == pytest.approx(1. * (2 + 2 + 6.314 * 1), rel=1e-3)
    # 8 bit that was measured to gain is not called a loss
    costs.slope = Estimate(-0.5, -1., 0.2)
    assert costs.cost(['t']).value == pytest.approx(-1.)


def test_slope_of_known_plans():
    """A line through the origin with known noise: the interval holds the truth."""
    rng = np.random.default_rng(0)
    noise = rng.uniform(0.5, 4, 20)
    lost = 0.8 * noise + rng.normal(0, 0.2, 20)
    draws = [(places, lost[places]) for places in rng.integers(0, 20, (200, 20))]
    slope = fit_slope(noise, lost, draws)
    assert slope.low < 0.8 < slope.high and slope.high - slope.low < 0.1
    assert slope.value == pytest.approx(np.linalg.lstsq(noise[:, None], lost, rcond=None)[0][0])
    # without any loss the bounds are around zero, and nothing is held up by a floor
    none = fit_slope(noise, 0 * lost, [(places, 0 * lost[places]) for places in
                                       rng.integers(0, 20, (50, 20))])
    assert (none.value, none.low, none.high) == (0, 0, 0)


def test_divergence_grows_with_the_square():
    rng = np.random.default_rng(0)
    boxes = np.array([[0., 0, 20, 40], [10, 10, 30, 20]])
    scores = np.array([[0.9, 0.1], [0.2, 0.3]])
    assert divergence((boxes, scores), (boxes, scores)) == 0
    shift = rng.normal(size=boxes.shape)
    one, two = (divergence((boxes, scores), (boxes + part * shift, scores)) for part in (1, 2))
    assert two == pytest.approx(4 * one)
    # a tenth of the side of a box that is surely there counts like one nat
    moved = boxes + np.array([[2., 4, 2, 4], [0, 0, 0, 0]])
    assert divergence((boxes, scores), (moved, scores)) == pytest.approx(0.9)
    assert score_divergence(np.array([0.5]), np.array([0.25])) == pytest.approx(
        0.5 * np.log(2) + 0.5 * np.log(0.5 / 0.75))


def test_noise_is_resumed_and_of_each_part_alone(calibrated, tmp_path, monkeypatch):
    quantised = calibrated[0]
    before = quantised.selection
    inputs = [image.numpy() for image in images(2)]
    analysis = NoiseAnalysis(quantised, inputs, tmp_path / 'cache.json')
    costs = analysis.run()
    assert quantised.selection == before
    assert all(len(row.images) == 2 for row in [*costs.tensors.values(), *costs.weights.values()])
    flow = quantised.flow
    assert set(costs.weights) == set(default_layers(flow))
    layer = next(iter(costs.weights))
    alone = analysis.of(Selection(frozenset([layer]), frozenset(), frozenset()))
    assert costs.weights[layer].images == pytest.approx(alone) and min(alone) > 0
    # what is known is not measured again; with other images everything is
    known = json.loads((tmp_path / 'cache.json').read_text())
    del known['known'][f'weight {layer}']
    (tmp_path / 'cache.json').write_text(json.dumps(known))
    applied = []
    monkeypatch.setattr(quantised, 'apply', lambda selection, apply=quantised.apply: (
        applied.append(selection), apply(selection)))
    again = NoiseAnalysis(quantised, inputs, tmp_path / 'cache.json').run()
    assert again == costs
    assert [s.layers for s in applied if len(s.layers) == 1] == [{layer}]
    assert NoiseAnalysis(quantised, inputs[:1], tmp_path / 'cache.json').known.values == {}


class Machine:
    """A machine whose times are known: groups, switching, a fixed part."""

    def __init__(self, variants, rng):
        names = variants.candidates
        self.boundaries = find_boundaries(variants)
        self.table = LatencyTable(
            dict(zip(names, rng.uniform(1, 3, len(names)))),
            dict(zip(names, rng.uniform(0.3, 0.9, len(names)))), 2., 40., 90.)

    def time(self, names):
        return self.table.predict(self.boundaries, names)

    def profile(self, variants, names, repeats=20):
        chosen = set(names)
        rows = {name: (self.table.int8_ms if name in chosen else self.table.float_ms)[name]
                for name in variants.candidates}
        return {**rows, 'rest': self.table.rest_ms}


def test_latency_of_whole_plans_is_found(variants, monkeypatch):
    """A synthetic machine: what is fitted must predict plans that had no part in it."""
    machine = Machine(variants, np.random.default_rng(0))
    monkeypatch.setattr(timing_module, 'profile', machine.profile)
    monkeypatch.setattr(variants, 'open', lambda names: list(names), raising=False)
    monkeypatch.setattr(timing_module, 'measure', lambda runs, image, **_: {
        name: Latency([machine.time(groups)] * 3) for name, groups in runs.items()})
    table = measure_latency(variants, repeats=2)
    assert table.to_int8 == pytest.approx(40., rel=0.05)
    assert table.to_float == pytest.approx(90., rel=0.05)
    rng = np.random.default_rng(5)
    for _ in range(10):
        plan = [name for name in variants.candidates if rng.random() < 0.5]
        assert table.predict(machine.boundaries, plan) == pytest.approx(
            machine.time(plan), rel=0.02)


def judged(float_ap, lost):
    """Return a stand-in of ``Workflow.score``: AP by the number of 8-bit groups."""
    def score(names, label, judged=False, path=None):
        return SimpleNamespace(ap=float_ap - lost(names), ap50=0., images=0)
    return score


@pytest.fixture
def workflow(float_onnx, calibrated, tmp_path):
    onnx.save(float_onnx, tmp_path / 'float.onnx')
    return Workflow(str(tmp_path / 'float.onnx'), calibrated[1], 'onnxruntime', str(tmp_path),
                    num_threads=1)


def test_a_plan_that_misses_its_budget_is_repaired(workflow, costs, monkeypatch):
    names = workflow.variants.candidates
    table = LatencyTable(dict.fromkeys(names, 2.), dict.fromkeys(names, 1.), 1., 0., 0.)
    problem = problem_of(workflow.variants, costs, table)
    # what is measured is four times what the parts promise
    monkeypatch.setattr(workflow, 'score', judged(
        50., lambda groups: 4 * problem.choice(groups).ap_loss))
    plan = workflow.selective(costs, table, Budget(ap=1.), points=0)
    first = problem.fastest(1.)
    assert plan.numbers['within_budget'] and plan.numbers['verified_ap_loss'] <= 1.
    assert 0 < len(plan.int8_groups()) < len(first.groups)


class Judge:
    """Scores a file by how many of its tensors are 8 bit."""

    def __init__(self, ap, rate):
        self.ap, self.rate = ap, rate

    def score_file(self, tensors, label=''):
        return SimpleNamespace(ap=self.ap - self.rate * tensors, ap50=0., images=0)


def test_files_are_reported_on_one_set_and_chosen_on_the_other(workflow, costs, monkeypatch):
    """AP of the file that was written, of float and of 8 bit, of either set of images."""
    variants = workflow.variants
    monkeypatch.setattr(workflow_module, 'open_session', lambda path, *args, **kwargs: count_pairs(
        onnx.load(path))['tensors'])
    monkeypatch.setattr(variants, 'open', lambda names: count_pairs(
        variants.make(names))['tensors'], raising=False)
    workflow.scorer, workflow.judge = Judge(60., 0.01), Judge(40., 0.02)
    count = count_pairs(onnx.load(workflow.full().path))['tensors']
    names = variants.candidates
    table = LatencyTable(dict.fromkeys(names, 2.), dict.fromkeys(names, 1.), 1., 0., 0.)
    plan = workflow.selective(costs, table, Budget(ap=100.), points=0)
    assert plan.int8_groups() == names and count > 20
    assert plan.numbers['verified_ap_loss'] == pytest.approx(0.02 * count)
    assert [row.ap for row in workflow.report.rows] == pytest.approx(
        [60., 60. - 0.01 * count, 60. - 0.01 * count])


def test_a_budget_of_time(workflow, costs, monkeypatch):
    """The most accurate plan that is measured to be within the time."""
    names = workflow.variants.candidates
    table = LatencyTable(dict.fromkeys(names, 2.), dict.fromkeys(names, 1.), 1., 0., 0.)
    problem = problem_of(workflow.variants, costs, table)
    slower = 1.1  # the machine is slower than predicted
    monkeypatch.setattr(workflow_module, 'time_plans', lambda variants, plans, **_: [
        slower * table.predict(problem.boundaries, plan) for plan in plans])
    monkeypatch.setattr(workflow, 'score', judged(50., lambda groups: 0.1))
    limit = 1.5 * len(names) + 1
    plan = workflow.selective(costs, table, Budget(ms=limit), points=2)
    measured = slower * table.predict(problem.boundaries, plan.int8_groups())
    assert plan.numbers['within_budget'] and 0.8 * limit < measured <= limit
    assert names[0] not in plan.int8_groups() and names[-1] in plan.int8_groups()
    left = [entry.reason for entry in plan.groups if entry.name == names[0]]
    assert left[0].startswith('the time is kept without it')
    rows = [row.name for row in workflow.report.rows]
    assert rows == ['selective', 'frontier 1', 'frontier 2']
    with pytest.raises(UserError, match='no plan takes 1 ms or less; the fastest'):
        workflow.selective(costs, table, Budget(ms=1.))


def test_reasons_are_the_ones_that_hold(variants, costs):
    names = variants.candidates
    int8_ms = dict.fromkeys(names, 1.)
    int8_ms[names[-1]] = 3.  # slower in 8 bit
    table = LatencyTable(dict.fromkeys(names, 2.), int8_ms, 1., 0., 0.)
    problem = problem_of(variants, costs, table)
    choice = problem.fastest(0.7)
    plan = make_plan(variants.groups, choice, problem, costs, 'onnxruntime',
                     0.7 - choice.ap_bound)
    entries = {entry.name: entry for entry in plan.groups}
    assert entries[names[0]].reason.startswith('too dear') and entries[names[0]].ap_loss > 0.7
    assert entries[names[-1]].reason.startswith('slower in 8 bit')
    assert all(entries[name].reason.startswith('worth it') for name in choice.groups)
    # number, interval and how it was found
    alone = problem.choice([names[0]])
    assert entries[names[0]].ap_loss == pytest.approx(alone.ap_loss)
    assert f'{alone.ap_loss:.3f} [{alone.ap_loss:.3f}, {alone.ap_bound:.3f}] AP' in (
        entries[names[0]].reason)
    assert 'noise on 2 images' in entries[names[0]].reason
    assert '2 plans scored on 20 images' in entries[names[0]].reason
    # with all of the budget left over, what stays float stays so for the switching
    dear = LatencyTable(dict.fromkeys(names, 2.), dict.fromkeys(names, 1.), 1., 1e4, 1e4)
    problem = problem_of(variants, costs, dear)
    plan = make_plan(variants.groups, problem.choice([]), problem, costs, 'onnxruntime', 100.)
    reasons = [entry.reason for entry in plan.groups if 'prediction' not in entry.reason]
    assert all(reason.startswith('switching costs more') for reason in reasons)


def test_a_shared_tensor_counts_once(variants, costs):
    names = variants.candidates
    table = LatencyTable(dict.fromkeys(names, 2.), dict.fromkeys(names, 1.), 1.)
    problem = problem_of(variants, costs, table)
    classes = problem.tensors(names)
    layers = [layer for group in variants.groups if group.name in names for layer in group.layers]
    want = costs.cost(classes, layers)
    assert problem.choice(names).ap_loss == pytest.approx(want.value)
    alone = sum(problem.choice([name]).ap_loss for name in names)
    assert alone > want.value + 0.05
    assert classes == set(select(variants.flow, layers).classes)


def test_bounds_enter_the_budget(variants, costs):
    names = variants.candidates
    table = LatencyTable(dict.fromkeys(names, 2.), dict.fromkeys(names, 1.), 1.)
    sure = problem_of(variants, costs, table).fastest(1.)
    costs.slope = Estimate(1., 0.5, 2.)
    unsure = problem_of(variants, costs, table).fastest(1.)
    assert unsure.ap_bound <= 1. < 2 * sure.ap_loss
    assert unsure.ap_loss == pytest.approx(unsure.ap_bound / 2)
    assert set(unsure.groups) < set(sure.groups)


def test_switching_decides(variants, costs):
    """Two neighbours share their boundary; the price of a boundary must be in the programme."""
    names = variants.candidates
    table = LatencyTable(dict.fromkeys(names, 2.), dict.fromkeys(names, 1.), 1., 1e6, 1e6)
    costs.slope = Estimate(0.01, 0.01, 0.01)
    problem = problem_of(variants, costs, table)
    latency = PlanLatency(table, problem.boundaries)
    assert choose(problem.terms, latency, Budget(ap=10.)).groups == []
    table.to_int8 = table.to_float = 0.
    assert choose(problem.terms, latency, Budget(ap=10.)).groups == names
    assert choose(problem.terms, latency, Budget(ms=1e3)).groups == []
    with pytest.raises(UserError, match='either of AP or of milliseconds'):
        Budget(ap=1., ms=2.)


def test_plans_behind_the_slope_are_scored_once(variants, costs, calibrated, tmp_path):
    """Losses that follow the noise give back the slope they were made with."""
    analysis = NoiseAnalysis(calibrated[0], [image.numpy() for image in images(1)])
    asked = []

    def score(names):
        asked.append(names)
        lost = 0.5 * costs.noise(selection_of(variants.flow, names))
        return SimpleNamespace(ap=50. - lost, images=4, resampled=lambda images: 50. - lost)

    costs.plans = []
    score_plans(costs, analysis, variants.candidates, score, 4, tmp_path / 'plans.json')
    assert costs.slope.value == pytest.approx(0.5) == costs.slope.high
    assert asked[0] == [] and asked[1] == variants.candidates and len(costs.plans) == 4
    assert costs.additivity() > 0 and 'Spearman 1.00 over 4 plans' in costs.lines()[-1]
    asked.clear()
    costs.plans = []
    score_plans(costs, analysis, variants.candidates, score, 4, tmp_path / 'plans.json')
    assert asked == [[]]
