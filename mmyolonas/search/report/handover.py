"""Handing over what was found: configs, trainings by the recipe, measured latencies, report."""
import math
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

from mmyolonas.search.accuracy.evaluation import Evaluator, Point
from mmyolonas.search.accuracy.inherited import Inherited
from mmyolonas.search.accuracy.short_training import ShortTrainings, Task, Training
from mmyolonas.search.preparation import Target, mean_accuracy
from mmyolonas.search.project import Project
from mmyolonas.search.report.comparison import SearchResult, make_evaluator
from mmyolonas.search.space.encoding import describe
from mmyolonas.search.space.space import genome_key
from mmyolonas.search.study.frontier import choose, frontier, read_points, write_config
from mmyolonas.search.study.verify import measure_models
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import read_json, write_json
from mmyolonas.utils.typed import build


def hand_over(project: Project, target: Target, result: SearchResult, base: str,
              target_ms: Sequence[float] = (), source: Any = None,
              leaders: int = 3) -> Dict[str, Path]:
    """Write the configs of chosen models and, from a supernet, their checkpoints.

    A checkpoint lies beside its config (``.pth``) and is an ordinary one: it loads
    strictly, for ``tools/finetune.py --pretrained``, distillation and quantisation.

    Args:
        project (Project): The folder.
        target (Target): The target.
        result (SearchResult): Of :func:`search`.
        base (str): Config that the found ones inherit data and schedule from.
        target_ms (Sequence[float]): Limits in milliseconds; without any, the latency
            of each published model is one.
        source (Inherited, optional): Of the search; without one there are configs alone.
        leaders (int): Of an INT8 target: architectures of each limit, the most accurate
            ones, whose INT8 files are scored to choose among them. Defaults to 3.

    Returns:
        dict[str, Path]: Config files by name. ``chosen_<target>.json`` has what is known
        of each: ``accuracy`` on the images that chose, from a supernet also
        ``report_ap`` and ``report_int8_ap`` on the others.
    """
    limits = {f'{ms:g}ms': ms for ms in target_ms} or {
        name: point.latency for name, point in result.published.items()}
    paths, rows = {}, []
    measured = isinstance(source, Inherited)
    rank = partial(_int8_ap, source, target) if measured and target.precision == 'int8' else None
    for choice in choose(result.all_points(), limits, leaders, rank):
        path = project.path('configs', f'yolonas_{choice.name}_{target.label}.py')
        title = f'Found architecture for at most {choice.limit:.3f} ms ({choice.name})'
        paths[choice.name] = write_config(path, choice.point, project.space, base, title,
                                          target.name, target.precision)
        known = {}
        if measured:
            source.save(choice.point.genome, path.with_suffix('.pth'))
            known['report_ap'] = source.score(choice.point.genome, 'report')
        if rank is not None:
            known['report_int8_ap'] = rank(choice.point, 'report')
        rows.append(dict(name=choice.name, limit_ms=choice.limit, base=base, **known,
                         **asdict(choice.point), description=describe(choice.point.genome)))
    write_json(project.path(f'chosen_{target.label}.json'), rows)
    return paths


def _int8_ap(source: Inherited, target: Target, point: Point, half: str = 'select') -> float:
    return source.score_int8(point.genome, half, target.name, target.num_threads)


def chosen_text(project: Project, target: Target) -> str:
    """Return the chosen models as a Markdown table."""
    lines = ['| chosen | at most, ms | predicted ms | AP where it was chosen | AP on the other '
             'images | the same in INT8 | M weights |', '|---|---|---|---|---|---|---|']
    for row in _chosen_rows(project, target):
        aps = [f'{row[name]:.1f}' if name in row else ''
               for name in ('accuracy', 'report_ap', 'report_int8_ap')]
        lines.append(f'| {row["name"]} | {row["limit_ms"]:.3f} | {row["latency"]:.3f} | '
                     f'{" | ".join(aps)} | {row["params"] / 1e6:.2f} |')
    return '\n'.join(lines)


def read_chosen(project: Project, target: Target) -> Dict[str, Point]:
    """Return the chosen models of a target by name; one chosen twice has both names.

    Raises:
        UserError: Nothing was chosen yet.
    """
    names: Dict[str, List[str]] = {}
    points = {}
    for row in _chosen_rows(project, target):
        point = Point(**{key: row[key] for key in Point.__dataclass_fields__})
        names.setdefault(point.key, []).append(row['name'])
        points[point.key] = point
    return {', '.join(names[key]): point for key, point in points.items()}


def _chosen_rows(project: Project, target: Target) -> List[dict]:
    path = project.path(f'chosen_{target.label}.json')
    if not path.is_file():
        raise UserError(f'nothing was chosen for {target.label} yet; run tools/search.py search.')
    return read_json(path, 'a list of chosen models', list, lambda rows: [
        dict(row, **asdict(build(Point, {key: row[key] for key in Point.__dataclass_fields__})))
        for row in rows])


def train_chosen(project: Project, points: Sequence[Point], published: Sequence[str],
                 limit: Optional[int] = None, seeds: Sequence[int] = (0, )) -> List[Training]:
    """Train points of a frontier, and published models, by the same recipe."""
    models = project.published()
    tasks = [Task(point.genome, seed, 'frontier') for seed in seeds for point in points]
    tasks += [Task(models[name], seed, f'published {name}') for seed in seeds
              for name in published]
    return ShortTrainings(project.space, project.recipe, project.folder).run(tasks, limit)


# ----------------------------------------------------------------------- verify
@dataclass
class Verified:
    """A network that was trained by the recipe and timed on the target.

    Args:
        name (str): ``'s'`` of the found ones, ``'published s'``, ``'frontier 3'``.
        key (str): See :func:`mmyolonas.search.space.space.genome_key`.
        predicted_ms (float): By the table.
        median_ms (float): Measured.
        best_ms (float): Shortest run.
        predicted_ap (float, optional): By what the search used, on the images that choose.
        aps (list[float]): Points of AP of each seed that was trained, on the half of the
            validation images that chooses nothing.
        params (int): Weights.
        flops (int): Operations.
        select_aps (list[float]): The same on the other half.
    """
    name: str
    key: str
    predicted_ms: float
    median_ms: float
    best_ms: float
    predicted_ap: Optional[float]
    aps: List[float]
    params: int
    flops: int
    select_aps: List[float] = field(default_factory=list)

    @property
    def ap(self) -> float:
        """float: Mean over the seeds, NaN if it was not trained."""
        return sum(self.aps) / len(self.aps) if self.aps else float('nan')

    @property
    def select_ap(self) -> float:
        """float: The same on the images that choose."""
        return sum(self.select_aps) / len(self.select_aps) if self.select_aps else self.ap


def spread_points(result: SearchResult, count: int) -> List[Point]:
    """Return points of the frontier at even steps of the logarithm of latency."""
    best = [point for point in frontier(result.all_points())
            if point.latency <= result.reference[1]]
    if len(best) <= count:
        return best
    logs = np.log([point.latency for point in best])
    wanted = np.linspace(logs[0], logs[-1], count)
    places = sorted({int(np.abs(logs - value).argmin()) for value in wanted})
    return [best[place] for place in places]


def candidates(project: Project, target: Target, result: SearchResult,
               count: int) -> Dict[str, Point]:
    """Return what is worth a training, by name, each architecture once.

    These are the chosen ones, points spread over the predicted frontier, and the best
    of what was trained before.

    Args:
        project (Project): The folder.
        target (Target): The target.
        result (SearchResult): Of the last search.
        count (int): Points of the predicted frontier.
    """
    found = {f'found {name}': point for name, point in read_chosen(project, target).items()}
    taken = {point.key for point in found.values()}

    def add(name: str, points: Sequence[Point]) -> None:
        new = [point for point in points if point.key not in taken]
        found.update({f'{name} {number}': point for number, point in enumerate(new, 1)})
        taken.update(point.key for point in new)

    add('frontier', spread_points(result, count))
    taken.update(point.key for point in result.published.values())  # these are rivals
    add('trained', trained_frontier(project, make_evaluator(project, target),
                                    result.reference[1]))
    return found


def trained_frontier(project: Project, evaluate: Evaluator, slowest: float) -> List[Point]:
    """Return the trained architectures that no other is better than, the fastest first.

    Args:
        project (Project): The folder.
        evaluate (Evaluator): Of the target; a predictor is not needed.
        slowest (float): Milliseconds beyond which a network is of no use.
    """
    points = [replace(evaluate(training.genome), accuracy=100 * training.ap)
              for training in mean_accuracy(project.trainings()).values()]
    return [replace(point, accuracy=float('nan'))
            for point in frontier([p for p in points if p.latency <= slowest])]


def verify(project: Project, target: Target, points: Dict[str, Point],
           repeats: int = 50) -> List[Verified]:
    """Time networks on the target in turn, and look up what they reached when trained.

    Args:
        project (Project): The folder.
        target (Target): The target.
        points (dict[str, Point]): As a search sees them, by name.
        repeats (int): Timed runs of each. Defaults to 50.

    Returns:
        list[Verified]: Also in ``verified_<target>.json``.
    """
    times = measure_models(project.space, {name: p.genome for name, p in points.items()},
                           project.recipe.num_classes, target.name, target.precision,
                           target.num_threads, repeats)
    trained = project.trainings()
    found = [Verified(name, point.key, point.latency, times[name].median, times[name].best,
                      None if math.isnan(point.accuracy) else point.accuracy,
                      [100 * t.halves.get('report', t.ap) for t in trained if t.key == point.key],
                      point.params, point.flops,
                      [100 * t.halves.get('select', t.ap) for t in trained if t.key == point.key])
             for name, point in points.items()]
    write_json(project.path(f'verified_{target.label}.json'), [asdict(row) for row in found])
    return found


def hand_over_trained(project: Project, target: Target, verified: Sequence[Verified],
                      points: Dict[str, Point]) -> Dict[str, Path]:
    """Write the configs of what trained best within each limit, by measured latency.

    The chosen ones are the best by prediction; a training may see it otherwise. The
    limit is the measured latency of the published model of that name, else the
    milliseconds that were asked for.

    Args:
        project (Project): The folder.
        target (Target): The target.
        verified (Sequence[Verified]): Of :func:`verify`.
        points (dict[str, Point]): What was verified, by name.

    Returns:
        dict[str, Path]: Config files by name; none where nothing is fast enough.
    """
    measured = {row.name: row.median_ms for row in verified}
    ours = [row for row in verified if row.aps and not row.name.startswith('published ')]
    paths = {}
    for chosen in _chosen_rows(project, target):
        limit = measured.get(f'published {chosen["name"]}', chosen['limit_ms'])
        fast = [row for row in ours if row.median_ms <= limit]
        if fast:
            best = max(fast, key=lambda row: row.select_ap)
            path = project.path('configs', f'yolonas_{chosen["name"]}_{target.label}_trained.py')
            title = (f'Best of the trained within {limit:.3f} ms ({chosen["name"]}): '
                     f'{best.median_ms:.3f} ms measured, AP {best.ap:.1f} by the short recipe')
            base = chosen.get('base', project.settings.recipe)
            paths[chosen['name']] = write_config(path, points[best.name], project.space, base,
                                                 title, target.name, target.precision)
    return paths


def dominating(verified: Sequence[Verified], name: str = 'published s') -> List[Verified]:
    """Return what is measured faster than a network at equal or better trained AP."""
    rival = next((row for row in verified if row.name == name), None)
    if rival is None or not rival.aps:
        return []
    return [row for row in verified if row.aps and row.name != name
            and row.median_ms < rival.median_ms and row.ap >= rival.ap]


def read_result(project: Project, target: Target) -> SearchResult:
    """Read the points of the last search for a target.

    Raises:
        UserError: There was none.
    """
    path = project.path(f'points_{target.label}.csv')
    if not path.is_file():
        raise UserError(f'nothing was searched for {target.label} yet; run tools/search.py '
                        'search.')
    published = read_points(project.path(f'published_{target.label}.csv'), project.space)
    names = {genome_key(genome): name for name, genome in project.published().items()}
    slowest = max(point.latency for point in published)
    return SearchResult(dict(all=[read_points(path, project.space)]),
                        {names[point.key]: point for point in published}, [0., slowest])
