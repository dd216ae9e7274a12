"""One page about a search: what was measured, and what was not done."""
from dataclasses import replace
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

import numpy as np

from mmyolonas.search.latency.operator_table import OperatorTable
from mmyolonas.search.preparation import Target, table_path
from mmyolonas.search.project import Project
from mmyolonas.search.report.handover import Verified, dominating
from mmyolonas.search.report.plots import plot_targets
from mmyolonas.search.space.encoding import Genome
from mmyolonas.search.study.frontier import read_points
from mmyolonas.utils.files import read_json, write_text

_NOT_DONE = '''## What was not done

- AP is that of short trainings by one recipe at small size. It ranks architectures for that
  recipe; it is no AP of a full training, and nothing here is a claim about COCO.
- AP with inherited weights, or of a surrogate, is what the search saw, on the half of the
  validation images that chooses; a point of the frontier is a proposal until it is trained. AP
  after training is that of the other half.
- Latency is that of this machine, runtime, precision and number of threads.
'''


def write_report(project: Project, target: Target) -> Path:
    """Write ``report_<target>.md`` from what lies in the folder; return its path."""
    label = target.label
    lines = [f'# Search for {target.name} in {target.precision}', '',
             f'{project.space.size:.3e} architectures in the space (exactly '
             f'{project.space.size}), recipe `{project.settings.recipe}`, input sizes '
             f'{", ".join(map(str, project.space.input_sizes))}.', '']
    lines += _latency(project, target)
    rungs = _text(project.path('rungs.md'))
    if rungs:
        lines += ['## What each rung is worth', '', rungs, '![rungs](rungs.png)', '']
    lines += _search(project, label)
    lines += _verified(project, label)
    lines += _targets(project)
    path = project.path(f'report_{label}.md')
    write_text(path, '\n'.join([*lines, _NOT_DONE]))
    return path


def _text(path: Path) -> Optional[str]:
    return path.read_text(encoding='utf-8') if path.is_file() else None


def _json(path: Path) -> Any:
    return read_json(path, 'a result of tools/search.py', object) if path.is_file() else None


def _latency(project: Project, target: Target) -> List[str]:
    path = table_path(project, target)
    if not path.is_file():
        return []
    table = OperatorTable.load(path, warn=False)
    lines = ['## Latency', '', f'{len(table.operators)} operators of {len(table.networks)} '
             f'measurements on {table.machine.get("cpu")}, {table.target} '
             f'{table.machine.get("runtime_version")}, {table.machine.get("num_threads")} '
             'thread(s).', '']
    for precision in table.precisions:
        found = table.accuracy(precision)
        if found is not None:
            lines.append(f'- {precision}: {_accuracy(found)}')
    return [*lines, '']


def _accuracy(found: Any) -> str:
    return (f'Spearman {found.spearman:.3f}, mean error {100 * found.error:.1f} % over '
            f'{found.networks} networks left out in turn')


def _search(project: Project, label: str) -> List[str]:
    text = _text(project.path(f'hypervolume_{label}.csv'))
    if not text:
        return []
    rows = [line.split(',') for line in text.split('\n')[1:] if line]
    last = max(int(row[2]) for row in rows)
    lines = ['## Search', '', f'Hypervolume after {last} architectures:', '',
             '| sampler | seeds | mean | spread (standard deviation) | each |',
             '|---|---|---|---|---|']
    for sampler in dict.fromkeys(row[0] for row in rows):
        values = [float(row[3]) for row in rows if row[0] == sampler and int(row[2]) == last]
        spread = np.std(values, ddof=1) if len(values) > 1 else 0.
        lines.append(f'| {sampler} | {len(values)} | {np.mean(values):.3f} | {spread:.3f} | '
                     f'{", ".join(f"{value:.3f}" for value in values)} |')
    return [*lines, '', f'![hypervolume](hypervolume_{label}.png)', '',
            f'![frontier](frontier_{label}.png)', '']


def _targets(project: Project) -> List[str]:
    """Compare the frontiers of all targets that were searched; nothing for one."""
    fronts = {}
    for path in sorted(project.folder.glob('frontier_*.csv')):
        label = path.stem.partition('_')[2]
        published = read_points(project.path(f'published_{label}.csv'), project.space)
        unit = published[-3].latency  # s, m, l
        fronts[label] = [replace(point, latency=point.latency / unit)
                         for point in read_points(path, project.space)]
    if len(fronts) < 2:
        return []
    plot_targets(fronts, project.path('targets.png'))
    lines = ['## Targets', '', '| target | points of the frontier | in common with the others | '
             + ' | '.join(_SHARES) + ' |', '|---|---|---|' + '---|' * len(_SHARES)]
    for label, points in fronts.items():
        others = {p.key for name, found in fronts.items() if name != label for p in found}
        shares = [np.mean([share(point.genome) for point in points])
                  for share in _SHARES.values()]
        lines.append(f'| {label} | {len(points)} | {sum(p.key in others for p in points)} | '
                     + ' | '.join(f'{value:.2f}' for value in shares) + ' |')
    return [*lines, '', '![targets](targets.png)', '']


def _share(part: str, value: Any) -> Callable[[Genome], float]:
    return lambda genome: float(np.mean([choice == value for name, choice in genome.items()
                                         if name.endswith(part)]))


def _mean(part: str) -> Callable[[Genome], float]:
    return lambda genome: float(np.mean([choice for name, choice in genome.items()
                                         if name.endswith(part)]))


#: What frontiers are compared by: means over their architectures.
_SHARES: Dict[str, Callable[[Genome], float]] = {
    'with attention': _share('.attention', True),
    'concatenating stages': _share('.concat', True), 'bottlenecks a stage': _mean('.blocks'),
    'hidden width': _mean('.hidden'), 'input, px': _mean('input_size')}


def _verified(project: Project, label: str) -> List[str]:
    rows = _json(project.path(f'verified_{label}.json'))
    if not rows:
        return []
    verified = [Verified(**row) for row in rows]
    lines = ['## Trained and timed', '', verified_text(verified), '']
    found = dominating(verified)
    if found:
        names = ', '.join(f'{row.name} ({row.key})' for row in found)
        lines.append(f'Faster than published S on the target at equal or better AP: {names}.')
    else:
        lines.append('None is faster than published S on the target at equal or better AP.')
    return [*lines, '', f'![trained and timed](verified_{label}.png)', '']


def verified_text(verified: Sequence[Verified]) -> str:
    """Return verified networks as a Markdown table, the fastest first."""
    lines = ['| network | key | ms measured, median | ms predicted | AP trained (seeds) | AP the '
             'search saw | M weights | GFLOPs |', '|---|---|---|---|---|---|---|---|']
    for row in sorted(verified, key=lambda row: row.median_ms):
        seeds = ', '.join(f'{ap:.1f}' for ap in row.aps)
        ap = f'{row.ap:.1f} ({seeds})' if row.aps else ''
        predicted = '' if row.predicted_ap is None else f'{row.predicted_ap:.1f}'
        lines.append(
            f'| {row.name} | {row.key} | {row.median_ms:.3f} | '
            f'{row.predicted_ms:.3f} | {ap} | {predicted} | {row.params / 1e6:.2f} | '
            f'{row.flops / 1e9:.2f} |')
    return '\n'.join(lines)
