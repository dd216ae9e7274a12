"""The choice of what becomes 8 bit, as a small integer programme."""
from dataclasses import dataclass
from typing import Dict, List, Mapping, Optional, Sequence, Set

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import lil_matrix

from mmyolonas.quantization.choice.costs import Costs, Estimate
from mmyolonas.quantization.choice.latency import Boundaries, LatencyTable
from mmyolonas.utils import UserError


@dataclass
class Budget:
    """What a choice may spend; one of the two.

    Args:
        ap (float, optional): Points of AP: the upper bound of the loss stays within.
        ms (float, optional): Milliseconds.
    """
    ap: Optional[float] = None
    ms: Optional[float] = None

    def __post_init__(self) -> None:
        if (self.ap is None) == (self.ms is None):
            raise UserError('a budget is either of AP or of milliseconds.')
        if self.ap is not None and self.ap < 0:
            raise UserError(f'a budget of AP cannot be negative, got {self.ap}.')


@dataclass
class Choice:
    """One point of the frontier.

    Args:
        groups (list[str]): Groups in 8 bit.
        latency (float): Predicted time in milliseconds.
        ap_loss (float): Predicted points of AP lost.
        ap_bound (float): Upper bound of them (one-sided, 95 %).
    """
    groups: List[str]
    latency: float
    ap_loss: float
    ap_bound: float = 0.


@dataclass
class PlanLatency:
    """What predicts the time of a plan.

    Args:
        table (LatencyTable): Times.
        boundaries (Boundaries): Where tensors may switch.
    """
    table: LatencyTable
    boundaries: Boundaries


@dataclass
class Terms:
    """Costs in AP as the programme takes them.

    Args:
        groups (dict[str, Estimate]): By group: its weights.
        tensors (dict[str, Estimate]): By tensor class.
    """
    groups: Dict[str, Estimate]
    tensors: Dict[str, Estimate]


def terms_of(costs: Costs, layers: Mapping[str, Sequence[str]], tensors: Sequence[str]) -> Terms:
    """Return the terms of a model.

    Args:
        costs (Costs): Noise and slope.
        layers (Mapping[str, Sequence[str]]): Layers of each group that may be 8 bit.
        tensors (Sequence[str]): Tensor classes.
    """
    return Terms({name: costs.cost(weights=own) for name, own in layers.items()},
                 {name: costs.cost(tensors=[name]) for name in tensors})


def choose(costs: Terms, latency: PlanLatency, budget: Budget) -> Choice:
    """Return the fastest plan within a budget of AP, or the most accurate within one of time.

    Args:
        costs (Terms): Costs in AP.
        latency (PlanLatency): Times.
        budget (Budget): What may be spent.

    Raises:
        UserError: No plan is that fast.
    """
    problem = ChoiceProblem(costs, latency)
    if budget.ap is not None:
        return problem.fastest(budget.ap)
    assert budget.ms is not None
    return problem.most_accurate(budget.ms)


class ChoiceProblem:
    """Least latency under a budget of AP, or the other way round.

    Variables are one per group (is it 8 bit?), one per tensor class (is it held
    in 8 bit?) and one per place where a tensor may switch. A tensor is 8 bit if
    a group that reads or makes it is; where its maker or a reader is float, the
    switch is paid for. Groups bear the cost of their weights, tensors their own, so a
    tensor between two groups counts once. Solved exactly by HiGHS.

    Args:
        terms (Terms): Costs in AP; the budget is kept by their upper bounds.
        latency (PlanLatency): Times.
    """

    def __init__(self, terms: Terms, latency: PlanLatency) -> None:
        self.latency = latency.table
        self.boundaries = latency.boundaries
        self.terms = terms
        self.names = list(terms.groups)
        self._index = {name: place for place, name in enumerate(self.names)}
        self.latency.check(self.names)
        self._build()

    def _build(self) -> None:
        base = len(self.names)
        tensors = list(self.boundaries.readers)
        table = self.latency
        costs = [table.int8_ms[name] - table.float_ms[name] for name in self.names]
        costs += [0.] * len(tensors)
        rows = []  # (coefficients, lower bound of their sum)
        for place, tensor in enumerate(tensors, base):
            sides = ((self.boundaries.producers[tensor], table.to_int8, table.each_int8),
                     (self.boundaries.readers[tensor], table.to_float, table.each_float))
            for groups, price, each in sides:
                for group, size in groups.items():
                    switch = len(costs)
                    costs.append(price * size + each)
                    row = {switch: 1., place: -1.}  # switch >= tensor - group
                    if group in self._index:
                        row[self._index[group]] = 1.
                        rows.append(({place: 1., self._index[group]: -1.}, 0.))
                    rows.append((row, 0.))
        self._costs = np.array(costs)
        self._rows = lil_matrix((len(rows), len(costs)))
        for number, (row, _) in enumerate(rows):
            for column, value in row.items():
                self._rows[number, column] = value
        none = Estimate(0., 0., 0.)
        entries = [*self.terms.groups.values(),
                   *(self.terms.tensors.get(name, none) for name in tensors)]
        self._loss = np.zeros(len(costs))
        self._loss[:len(entries)] = [entry.high for entry in entries]

    def _solve(self, objective: np.ndarray, limit: np.ndarray, bound: float) -> Optional[Choice]:
        constraints = [LinearConstraint(self._rows.tocsr(), lb=0),
                       LinearConstraint(limit[None], ub=bound)]
        result = milp(objective, integrality=np.ones(len(objective)), bounds=Bounds(0, 1),
                      constraints=constraints, options=dict(mip_rel_gap=0))
        if result.x is None:
            return None
        chosen = [name for name, value in zip(self.names, result.x) if value > 0.5]
        return self.choice(chosen)

    def tensors(self, groups: Sequence[str]) -> Set[str]:
        """Return the tensor classes that are 8 bit if some groups are."""
        chosen = set(groups)
        return {tensor for tensor, readers in self.boundaries.readers.items()
                if chosen & readers.keys() or chosen & self.boundaries.producers[tensor].keys()}

    def choice(self, groups: Sequence[str]) -> Choice:
        """Return what is predicted for some groups in 8 bit."""
        parts = [self.terms.groups[name] for name in groups]
        parts += [self.terms.tensors[name] for name in self.tensors(groups)
                  if name in self.terms.tensors]
        return Choice(list(groups), self.latency.predict(self.boundaries, groups),
                      sum(part.value for part in parts), sum(part.high for part in parts))

    def fastest(self, budget: float) -> Choice:
        """Return the fastest plan that loses at most ``budget`` points of AP.

        Raises:
            UserError: The budget is negative.
        """
        Budget(ap=budget)
        # a hair of the loss decides between plans of equal latency
        found = self._solve(self._costs + 1e-6 * self._loss, self._loss, budget + 1e-9)
        if found is None:  # all in float keeps every budget
            raise RuntimeError('the solver found no plan, not even the one without 8 bit.')
        return found

    def most_accurate(self, max_latency: float) -> Choice:
        """Return the plan with the least loss that takes at most ``max_latency`` ms.

        Raises:
            UserError: No plan is that fast.
        """
        fixed = self.latency.predict(self.boundaries, [])
        found = self._solve(self._loss + 1e-6 * self._costs, self._costs, max_latency - fixed)
        if found is None:
            best = self.fastest(float(self._loss.sum()))
            raise UserError(f'no plan takes {max_latency:.3g} ms or less; the fastest is '
                            f'predicted to take {best.latency:.3g} ms.')
        return found

    def frontier(self, points: int = 15) -> List[Choice]:
        """Return plans from float to the fastest, none of them beaten by another."""
        total = float(self._loss.sum())
        budgets = [0., *np.geomspace(total / 200, total, points - 1)] if total else [0.]
        plans: Dict[tuple, Choice] = {}
        for budget in budgets:
            plan = self.fastest(float(budget))
            plans[tuple(plan.groups)] = plan
        ordered = sorted(plans.values(), key=lambda plan: (plan.ap_bound, plan.latency))
        kept: List[Choice] = []
        for plan in ordered:
            if not kept or plan.latency < kept[-1].latency - 1e-9:
                kept.append(plan)
        return kept
