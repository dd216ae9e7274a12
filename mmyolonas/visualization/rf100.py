"""Charts of results on many data sets."""
from typing import Any, Dict, List, Sequence, Tuple

from mmyolonas.utils.figures import write_figure
from mmyolonas.utils.files import PathLike


def plot_categories(rows: Sequence[Any], published: Dict[str, float], path: PathLike,
                    title: str) -> None:
    """Draw AP50 of each category as bars beside released numbers.

    Args:
        rows (Sequence[CategoryRow]): A row for each group of bars.
        published (dict): Published means by model size, drawn as lines.
        path (str | Path): Picture to write.
        title (str): Title.
    """
    from matplotlib.figure import Figure
    figure = Figure(figsize=(max(7, 1.5 * len(rows) + 2), 4.5), layout='constrained')
    axes = figure.subplots()
    models = sorted({model for row in rows for model in row.released})
    series: List[Tuple[str, list]] = [('ours (AP50)', [row.common_ap50 if row.common else row.ap50
                                                       for row in rows])]
    series += [(f'{model} (released)', [row.released.get(model) for row in rows])
               for model in models]
    series.append(('ours (AP)', [row.ap for row in rows]))
    width = 0.8 / len(series)
    for index, (name, values) in enumerate(series):
        offset = (index - (len(series) - 1) / 2) * width
        bars = axes.bar([x + offset for x in range(len(rows))], [v or 0 for v in values], width,
                        label=name)
        axes.bar_label(bars, ['' if v is None else f'{v:.2f}' for v in values], fontsize=6)
    for number, (size, value) in enumerate(published.items()):
        axes.axhline(value, linewidth=0.8, linestyle=('--', ':')[number % 2], color='black',
                     label=f'YOLO-NAS-{size.upper()} as published, all sets')
    axes.set_xticks(range(len(rows)), [
        f'{row.name}\n{row.common or row.finished} of {row.total}' for row in rows], fontsize=8)
    axes.set(title=title, ylabel='mean over data sets', ylim=(0, 1.05))
    axes.grid(axis='y', alpha=0.3)
    axes.legend(fontsize=7, ncols=2, loc='lower right')
    write_figure(path, figure, 120)
