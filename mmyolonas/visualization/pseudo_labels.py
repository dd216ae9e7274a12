"""A picture of what a file of pseudo-labels holds."""
from collections import Counter
from typing import Any, Dict, List, Sequence

from mmyolonas.utils.figures import write_figure
from mmyolonas.utils.files import PathLike

_MOST_CLASSES = 40


def plot_pseudo_labels(scores: Dict[str, Sequence[int]], thresholds: List[Dict[str, Any]],
                       path: PathLike) -> None:
    """Draw labels per class and their scores, with thresholds, precision and recall.

    Args:
        scores (dict): By class name, the number of labels in each of equal bins
            of the score over [0, 1].
        thresholds (list[dict]): ``name``, ``threshold``, ``precision`` and
            ``recall`` (negative where not measured) of each class.
        path (str | Path): Picture to write.
    """
    from matplotlib.figure import Figure
    totals = Counter({name: sum(bins) for name, bins in scores.items()})
    names = [name for name, _ in totals.most_common(_MOST_CLASSES)]
    by_name = {item['name']: item for item in thresholds}
    figure = Figure(figsize=(12, max(4, 0.28 * len(names) + 1.5)), layout='constrained')
    counts, histogram = figure.subplots(1, 2)
    counts.barh(range(len(names)), [totals[name] for name in names], color='tab:blue')
    counts.set_yticks(range(len(names)), [_label(by_name.get(name), name) for name in names],
                      fontsize=8)
    counts.invert_yaxis()
    more = len(totals) - len(names)
    counts.set(title=f'labels per class ({sum(totals.values())} in all'
               + (f'; {more} more classes)' if more else ')'), xlabel='labels')
    bottom = None
    for name in names[:10]:
        bins = scores[name]
        edges = [(index + 0.5) / len(bins) for index in range(len(bins))]
        histogram.bar(edges, bins, 1 / len(bins), bottom, label=name)
        bottom = [a + b for a, b in zip(bottom or [0] * len(bins), bins)]
    histogram.set(title='scores' + (' (ten largest classes)' if len(totals) > 10 else ''),
                  xlabel='score', ylabel='labels', xlim=(0, 1))
    if names:
        histogram.legend(fontsize=8)
    for axes in (counts, histogram):
        axes.grid(alpha=0.3)
    write_figure(path, figure, 110)


def _label(item: Dict[str, Any], name: str) -> str:
    if item is None:
        return name
    if item['threshold'] > 1:
        return f'{name} (left out)'
    text = f'{name} (≥ {item["threshold"]:.2f}'
    if item['precision'] >= 0:
        text += f', precision {item["precision"]:.2f}, recall {item["recall"]:.2f}'
    return text + ')'
