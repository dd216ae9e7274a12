"""Charts of an analysis."""
from typing import Any, Dict, List, Optional

from mmyolonas.quantization.choice.sensitivity import Sensitivity
from mmyolonas.utils.files import write_figure


def _pyplot() -> Any:
    import matplotlib
    matplotlib.use('Agg')
    matplotlib.rcParams['text.parse_math'] = False  # names may hold dollars
    from matplotlib import pyplot
    return pyplot


def plot_sensitivity(sensitivity: Sensitivity, path: str,
                     chosen: Optional[List[str]] = None) -> None:
    """Draw the cost of each group.

    Args:
        sensitivity (Sensitivity): Costs.
        path (str): Picture to write.
        chosen (list[str], optional): Groups that a plan makes 8 bit; the others
            are drawn in another colour.
    """
    plt = _pyplot()
    losses = sensitivity.losses()
    names = list(losses)
    columns = [('signal to noise alone in 8 bit, dB',
                [sensitivity.groups[name].sqnr for name in names]),
               ('points of AP it is held to cost', list(losses.values()))]
    colours = ['tab:blue' if chosen is None or name in chosen else 'tab:orange'
               for name in names]
    figure, axes = plt.subplots(1, 2, sharey=True, layout='constrained',
                                figsize=(11, 1.5 + 0.17 * len(names)))
    for axis, (label, values) in zip(axes, columns):
        axis.barh(names, values, color=colours)
        axis.set_xlabel(label)
        axis.tick_params(labelsize=7)
        axis.grid(axis='x', alpha=0.3)
    axes[0].invert_yaxis()
    if chosen is not None:
        axes[1].barh([names[0]], [0], color='tab:blue', label='8 bit')
        axes[1].barh([names[0]], [0], color='tab:orange', label='float')
        axes[1].legend()
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
        axis.errorbar(row['latency_ms'], row['ap'], yerr=errors, fmt='o', capsize=4,
                      label=row['name'])
    if report['frontier'] and base is not None:
        points = sorted((plan['latency'], base - plan['ap_loss']) for plan in report['frontier'])
        axis.plot(*zip(*points), '.--', color='grey', label='frontier, predicted', zorder=0)
    threads = report['settings'].get('threads')
    axis.set_xlabel(f'ms on {report["runtime"]}, {threads} threads')
    axis.set_ylabel('AP, points (bars: 95 % of the loss, over images)')
    axis.grid(alpha=0.3)
    axis.legend()
    _write(figure, path)
    plt.close(figure)


def _write(figure: Any, path: str) -> None:
    write_figure(path, figure, 110)
