"""Charts of an analysis."""
from typing import Any, Dict, List, Tuple

import numpy as np

from mmyolonas.quantization.choice.costs import Costs
from mmyolonas.quantization.choice.plan import Plan
from mmyolonas.utils.figures import write_figure


def _pyplot() -> Any:
    import matplotlib
    matplotlib.use('Agg')
    matplotlib.rcParams['text.parse_math'] = False  # names may hold dollars
    from matplotlib import pyplot
    return pyplot


def plot_costs(plan: Plan, costs: Costs, path: str) -> None:
    """Draw the cost of each group with its bounds, and the plans the costs rest on.

    Args:
        plan (Plan): Groups with cost and precision.
        costs (Costs): Where the costs are from.
        path (str): Picture to write.
    """
    plt = _pyplot()
    rows = [entry for entry in plan.groups if entry.ap_loss is not None]
    figure, (left, right) = plt.subplots(1, 2, layout='constrained',
                                         figsize=(13, 1.5 + 0.17 * len(rows)))
    for precision, colour in (('int8', 'tab:blue'), ('float', 'tab:orange')):
        part = [(place, entry) for place, entry in enumerate(rows)
                if entry.precision == precision]
        if not part:
            continue
        values = np.array([entry.ap_loss for _, entry in part], float)
        ends = np.array([entry.ap_interval or [entry.ap_loss or 0.] * 2 for _, entry in part])
        left.barh([place for place, _ in part], values, color=colour,
                  label='8 bit' if precision == 'int8' else 'float', ecolor='grey',
                  xerr=np.maximum([values - ends[:, 0], ends[:, 1] - values], 0))
    left.set_yticks(range(len(rows)), [entry.name for entry in rows], fontsize=7)
    left.invert_yaxis()
    left.set_xlabel('points of AP it costs with all that it reads and makes (bars: 95 % each side)')
    left.legend()
    noise = [plan.noise for plan in costs.plans]
    right.plot(noise, [plan.lost for plan in costs.plans], 'o')
    ends = np.array([0., max(noise, default=0.)])
    right.plot(ends, costs.slope.value * ends, color='grey')
    right.fill_between(ends, costs.slope.low * ends, costs.slope.high * ends, color='grey',
                       alpha=0.2)
    right.set_xlabel('noise of a random plan, sum of its parts')
    right.set_ylabel('points of AP it lost')
    for axis in (left, right):
        axis.grid(alpha=0.3)
    _write(figure, path)
    plt.close(figure)


def plot_report(report: Dict[str, Any], path: str) -> None:
    """Draw AP against latency: float, full INT8, the frontier and the plans.

    Args:
        report (dict): Content of ``report.json``.
        path (str): Picture to write.
    """
    plt = _pyplot()
    rows = [row for row in report['rows']
            if row['ap'] is not None and row['latency_ms'] is not None]
    figure, axis = plt.subplots(figsize=(7, 4.5), layout='constrained')
    base = next((row['ap'] for row in rows if row['name'] == 'float'), None)
    for row in rows:
        errors = None
        if row['interval'] is not None and base is not None:
            low, high = row['interval']
            lost = base - row['ap']
            errors = [[max(high - lost, 0)], [max(lost - low, 0)]]
        between = row['name'].startswith('frontier')
        axis.errorbar(row['latency_ms'], row['ap'], yerr=errors, capsize=4,
                      fmt='.k' if between else 'o', label=None if between else row['name'])
    if report['frontier'] and base is not None:
        points = sorted((plan['latency'], base - plan['ap_loss']) for plan in report['frontier'])
        axis.plot(*zip(*points), '.:', color='lightgrey', label='frontier, predicted', zorder=0)
        axis.plot(*zip(*_frontier(rows)), '--', color='grey', label='frontier, measured',
                  zorder=0)
    threads = report['settings'].get('threads')
    axis.set_xlabel(f'ms on {report["runtime"]}, {threads} threads')
    axis.set_ylabel('AP, points (bars: 95 % of the loss, over images)')
    axis.grid(alpha=0.3)
    axis.legend()
    _write(figure, path)
    plt.close(figure)


def _frontier(rows: List[Dict[str, Any]]) -> List[Tuple[float, float]]:
    """Return time and AP of the rows that no other row beats in both."""
    kept: List[Tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: (row['latency_ms'], -row['ap'])):
        if not kept or row['ap'] > kept[-1][1]:
            kept.append((row['latency_ms'], row['ap']))
    return kept


def _write(figure: Any, path: str) -> None:
    write_figure(path, figure, 110)
