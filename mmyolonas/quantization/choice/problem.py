"""The choice of what becomes 8 bit, as a small integer programme."""
from dataclasses import dataclass
from typing import Dict, List, Optional, Sequence

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import lil_matrix

from mmyolonas.quantization.choice.latency import Boundaries, LatencyTable
from mmyolonas.utils import UserError


@dataclass
class Choice:
    """One point of the frontier.

    Args:
        groups (list[str]): Groups in 8 bit.
        latency (float): Predicted time in milliseconds.
        ap_loss (float): Predicted points of AP lost.
    """
    groups: List[str]
    latency: float
    ap_loss: float


class ChoiceProblem:
    """Least latency under a budget of AP, or the other way round.

    Variables are one per group (is it 8 bit?), one per tensor class (is it held
    in 8 bit?) and one per place where a tensor may switch. A tensor is 8 bit if
    a group that reads or makes it is; where its maker or a reader is float, the
    switch is paid for. Solved exactly by HiGHS.

    Args:
        latency (LatencyTable): Times.
        boundaries (Boundaries): Where tensors may switch.
        losses (dict[str, float]): Points of AP that each group costs.
    """

    def __init__(self, latency: LatencyTable, boundaries: Boundaries,
                 losses: Dict[str, float]) -> None:
        self.latency = latency
        self.boundaries = boundaries
        self.losses = losses
        self.names = list(losses)
        self._index = {name: place for place, name in enumerate(self.names)}
        self._build()

    def _build(self) -> None:
        base = len(self.names)
        tensors = list(self.boundaries.readers)
        costs = [self.latency.int8_ms[name] - self.latency.float_ms[name] for name in self.names]
        costs += [0.] * len(tensors)
        rows = []  # (coefficients, lower bound of their sum)
        for place, tensor in enumerate(tensors, base):
            table = self.latency
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
        self._loss = np.zeros(len(costs))
        self._loss[:base] = [self.losses[name] for name in self.names]

    def _solve(self, objective: np.ndarray, limit: np.ndarray, bound: float) -> Optional[Choice]:
        constraints = [LinearConstraint(self._rows.tocsr(), lb=0),
                       LinearConstraint(limit[None], ub=bound)]
        result = milp(objective, integrality=np.ones(len(objective)), bounds=Bounds(0, 1),
                      constraints=constraints, options=dict(mip_rel_gap=0))
        if result.x is None:
            return None
        chosen = [name for name, value in zip(self.names, result.x) if value > 0.5]
        return self.choice(chosen)

    def choice(self, groups: Sequence[str]) -> Choice:
        """Return what is predicted for some groups in 8 bit."""
        return Choice(list(groups), self.latency.predict(self.boundaries, groups),
                      sum(self.losses[name] for name in groups))

    def fastest(self, budget: float) -> Choice:
        """Return the fastest plan that loses at most ``budget`` points of AP.

        Raises:
            UserError: The budget is negative.
        """
        if budget < 0:
            raise UserError(f'a budget of AP cannot be negative, got {budget}.')
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
            best = self.fastest(sum(self.losses.values()))
            raise UserError(f'no plan takes {max_latency:.3g} ms or less; the fastest takes '
                            f'{best.latency:.3g} ms.')
        return found

    def frontier(self, points: int = 15) -> List[Choice]:
        """Return plans from float to the fastest, none of them beaten by another."""
        total = sum(self.losses.values())
        budgets = [0., *np.geomspace(total / 200, total, points - 1)] if total else [0.]
        plans: Dict[tuple, Choice] = {}
        for budget in budgets:
            plan = self.fastest(float(budget))
            plans[tuple(plan.groups)] = plan
        ordered = sorted(plans.values(), key=lambda plan: (plan.ap_loss, plan.latency))
        kept: List[Choice] = []
        for plan in ordered:
            if not kept or plan.latency < kept[-1].latency - 1e-9:
                kept.append(plan)
        return kept
