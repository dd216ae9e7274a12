"""What the choice goes by: losses, switching, the repair, the reasons in a plan."""
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from mmyolonas.quantization.choice import timing as timing_module
from mmyolonas.quantization.choice.latency import LatencyTable, find_boundaries
from mmyolonas.quantization.choice.problem import ChoiceProblem
from mmyolonas.quantization.choice.sensitivity import GroupScore, Sensitivity
from mmyolonas.quantization.choice.timing import measure_latency
from mmyolonas.quantization.choice.variants import Variants
from mmyolonas.quantization.workflow import Workflow, make_plan
from mmyolonas.runtime.timing import Latency


@pytest.fixture
def variants(float_onnx, calibrated):
    return Variants(float_onnx, calibrated[1], 'onnxruntime', num_threads=1)


def costs(names):
    """Return an analysis in which the first groups make the most noise."""
    return Sensitivity({name: GroupScore(20. + 2 * index, 0.) for index, name in enumerate(names)},
                       50., 48., 15.)


def test_losses_are_what_was_measured():
    """Shared out by noise; the mean with what the AP of a group alone says."""
    both = Sensitivity({'a': GroupScore(20., 0.), 'b': GroupScore(30., 0.)}, 50., 47.8, 19.)
    assert both.losses() == pytest.approx({'a': 2.0, 'b': 0.2})
    both.groups['a'] = GroupScore(20., 0., ap_in=1., ap_out=2.)
    assert both.losses() == pytest.approx({'a': (2.0 + 1.5) / 2, 'b': 0.2})


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
    def score(names, label, judged=False):
        return SimpleNamespace(ap=float_ap - lost(names), ap50=0.,
                               interval=lambda other: (0., 0.))
    return score


@pytest.fixture
def workflow(float_onnx, calibrated, tmp_path):
    onnx.save(float_onnx, tmp_path / 'float.onnx')
    return Workflow(str(tmp_path / 'float.onnx'), calibrated[1], 'onnxruntime', str(tmp_path),
                    num_threads=1)


def test_a_plan_that_misses_its_budget_is_repaired(workflow, monkeypatch):
    names = workflow.variants.candidates
    sensitivity = costs(names)
    table = LatencyTable(dict.fromkeys(names, 2.), dict.fromkeys(names, 1.), 1., 0., 0.)
    losses = sensitivity.losses()
    # what is measured is four times what the parts promise
    monkeypatch.setattr(workflow, 'score', judged(50., lambda groups: 4 * sum(
        losses[name] for name in groups)))
    plan = workflow.selective(sensitivity, table, budget=1.)
    first = ChoiceProblem(table, find_boundaries(workflow.variants), losses).fastest(1.)
    assert plan.numbers['within_budget'] and plan.numbers['verified_ap_loss'] <= 1.
    assert 0 < len(plan.int8_groups()) < len(first.groups)


def test_reasons_are_the_ones_that_hold(variants):
    names = variants.candidates
    sensitivity = costs(names)
    losses = sensitivity.losses()
    int8_ms = dict.fromkeys(names, 1.)
    int8_ms[names[-1]] = 3.  # slower in 8 bit
    table = LatencyTable(dict.fromkeys(names, 2.), int8_ms, 1., 0., 0.)
    problem = ChoiceProblem(table, find_boundaries(variants), losses)
    choice = problem.fastest(0.5)
    plan = make_plan(variants, choice, problem, sensitivity, 'onnxruntime', False,
                     0.5 - choice.ap_loss)
    reasons = {entry.name: entry.reason for entry in plan.groups}
    assert reasons[names[0]].startswith('too dear') and losses[names[0]] > 0.5
    assert reasons[names[-1]].startswith('slower in 8 bit')
    assert all(reasons[name].startswith('worth it') for name in choice.groups)
    # with all of the budget left over, what stays float stays so for the switching
    dear = LatencyTable(dict.fromkeys(names, 2.), dict.fromkeys(names, 1.), 1., 1e4, 1e4)
    problem = ChoiceProblem(dear, find_boundaries(variants), losses)
    choice = problem.choice([])
    plan = make_plan(variants, choice, problem, sensitivity, 'onnxruntime', False, 100.)
    reasons = [entry.reason for entry in plan.groups if 'prediction' not in entry.reason]
    assert all(reason.startswith('switching costs more') for reason in reasons)


def test_switching_decides(variants):
    """Two neighbours share their boundary; the price of a boundary must be in the programme."""
    names = variants.candidates
    table = LatencyTable(dict.fromkeys(names, 2.), dict.fromkeys(names, 1.), 1., 1e6, 1e6)
    problem = ChoiceProblem(table, find_boundaries(variants), dict.fromkeys(names, 0.01))
    assert problem.fastest(10.).groups == []
    table.to_int8 = table.to_float = 0.
    assert ChoiceProblem(table, problem.boundaries, problem.losses).fastest(10.).groups == names
