"""A choice as a plan, with a reason for each group."""
from typing import List, Optional, Tuple

from mmyolonas.quantization.choice.costs import Costs, Estimate, add_up
from mmyolonas.quantization.choice.plan import Plan, PlanEntry
from mmyolonas.quantization.choice.problem import Choice, ChoiceProblem
from mmyolonas.quantization.graph.groups import Group


def make_plan(groups: List[Group], choice: Choice, problem: ChoiceProblem, costs: Costs,
              runtime: str, room: Optional[float]) -> Plan:
    """Return a choice as a plan with a reason for each group.

    Args:
        groups (list[Group]): Groups of the model.
        choice (Choice): What was chosen.
        problem (ChoiceProblem): What it was chosen from.
        costs (Costs): How the numbers were found.
        runtime (str): Runtime of the plan.
        room (float, optional): Points of AP that the choice leaves of its budget; None for a
            budget of time.
    """
    entries, chosen, how = [], set(choice.groups), costs.how()
    for group in groups:
        name = group.name
        if group.is_prediction:
            entries.append(PlanEntry(name, 'float', 'makes a prediction'))
            continue
        cost, more = _cost(problem, name, choice)
        gain = problem.latency.float_ms[name] - problem.latency.int8_ms[name]
        rate = f'{cost} AP with all that it reads and makes ({how}), {gain:.2f} ms gained'
        if name in chosen:
            reason = f'worth it: {rate}'
        else:
            why = ('slower in 8 bit' if gain <= 0 else
                   'the time is kept without it' if room is None else
                   'too dear' if more > room else 'switching costs more than it gains')
            reason = f'{why}: {rate}'
        entries.append(PlanEntry(name, 'int8' if name in chosen else 'float', reason, cost.value,
                                 gain, [cost.low, cost.high]))
    return Plan(entries, runtime)


def _cost(problem: ChoiceProblem, name: str, choice: Choice) -> Tuple[Estimate, float]:
    """Return what a group costs alone, and by how much it would raise a choice's upper bound."""
    terms = problem.terms
    parts = [terms.groups[name]] + [terms.tensors[tensor] for tensor in problem.tensors([name])
                                    if tensor in terms.tensors]
    more = problem.choice([*choice.groups, name]).ap_bound - choice.ap_bound
    return add_up(parts), more
