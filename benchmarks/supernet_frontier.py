"""The second part of benchmarks/supernet.py: the frontier beside random search and S."""
import argparse
from dataclasses import dataclass, replace
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np

from benchmarks.ranks import DRAWS, Estimate, mean_difference
from benchmarks.supernet import (
    LONG,
    Clock,
    inherited,
    median_times,
    open_project,
    spent,
    supernet_folder,
    train_alone,
)
from benchmarks.supernet_plots import plot_frontier
from mmyolonas.utils.files import write_json, write_text

#: Seeds of the trainings that judge; the random search's trainings have seed 0.
_FRESH = 100
#: Networks whose operators are measured for the table of latencies.
_NETWORKS = 12
#: The reference of the hypervolume: no AP, and this many times the time of S.
_SLOWEST = 1.1


@dataclass
class Side:
    """What one way to search found.

    Args:
        name (str): ``'supernet'`` or ``'random search'``.
        points (list): Chosen points, the fastest first.
        seconds (float): Processor time it took.
        evaluated (int): Architectures it has seen.
    """
    name: str
    points: List[Any]
    seconds: float
    evaluated: int


def frontier(args: argparse.Namespace) -> None:
    """Search both ways at equal cost, train what was found anew, and compare."""
    from mmyolonas.search.accuracy.short_training import Task
    from mmyolonas.search.preparation import Target, measure_operators, table_path
    clock = Clock(args.minutes)
    project = open_project(args)
    target = Target(args.target, 'int8')
    source = inherited(project, args, args.net_from, clock)
    if not table_path(project, target).is_file():
        clock.check('operators')
        measure_operators(project, target, _NETWORKS, ['int8'])
    clock.check('search')
    ours, s = search_side(project, target, source, args)
    sides = [ours]
    if args.fresh_seeds:
        sides.append(random_side(project, target, ours.seconds, s.latency, args.points))
    genomes = {point.key: point.genome for side in sides for point in side.points}
    genomes[s.key] = s.genome
    aps = {}
    if args.fresh_seeds:
        tasks = [Task(genome, seed, 'published s' if key == s.key else 'frontier')
                 for seed in range(_FRESH, _FRESH + args.fresh_seeds)
                 for key, genome in genomes.items()]
        done = train_alone(project, tasks, clock, 'trainings of what was found',
                           LONG)
        for training in done:
            aps.setdefault(training.key, []).append(100 * training.halves['report'])
    else:
        aps = {key: [source.score(genome, 'report')] for key, genome in genomes.items()}
    times = median_times(project, genomes, args.target, clock, 'frontier')
    slices = {key: source.score(genome, 'report') for key, genome in genomes.items()}
    text = frontier_text(sides, s, aps, times, slices, args)
    print(text)
    write_text(args.work_dir / f'frontier_{args.target}.md', text)
    if args.fresh_seeds:
        plot_frontier({**{side.name: [p.key for p in side.points] for side in sides},
                       'published S': [s.key]}, aps, times, f'{args.target}, INT8',
                      args.work_dir / f'frontier_{args.target}.png')
    write_json(args.work_dir / f'frontier_{args.target}.json', dict(
        aps=aps, times=times, published_s=s.key,
        sides={side.name: dict(keys=[p.key for p in side.points], seconds=side.seconds,
                               evaluated=side.evaluated) for side in sides}))


def search_side(project: Any, target: Any, source: Any,
                args: argparse.Namespace) -> Tuple[Side, Any]:
    """Run NSGA-II over inherited AP; return what it found, and S as a point."""
    from mmyolonas.search.report.comparison import SearchPlan, make_evaluator, search
    s = make_evaluator(project, target, None)(project.published()['s'])
    name = f'benchmark {supernet_folder(project, args, args.net_from).name}'
    plan = SearchPlan(args.budget, 1, ['nsga2'], 24, max_ms=s.latency, name=name)
    result = search(project, target, plan, source, 0)
    points = result.all_points()
    seen = {source._key(point.genome, 'select') for point in points}
    seconds = sum(r['seconds'] for r in source.records if r['key'] in seen)
    seconds += spent(supernet_folder(project, args, args.net_from))
    return Side('supernet', spread(points, s.latency, args.points), seconds, len(points)), s


def random_side(project: Any, target: Any, seconds: float, slowest: float, count: int) -> Side:
    """Return what random search finds: trainings alone, in order, as many as the time allows."""
    from mmyolonas.search.report.comparison import make_evaluator
    evaluate = make_evaluator(project, target, None)
    trained = {t.key: t for t in project.trainings('random') if t.seed == 0}
    from mmyolonas.search.space.space import genome_key
    points, used = [], 0.
    for genome in project.sample(len(trained)):
        training = trained.get(genome_key(genome))
        if training is None or used + training.seconds > seconds:
            break
        used += training.seconds
        points.append(replace(evaluate(genome), accuracy=100 * training.halves['select']))
    return Side('random search', spread(points, slowest, count), used, len(points))


def spread(points: Sequence[Any], slowest: float, count: int) -> List[Any]:
    """Return points of the frontier at even steps of the logarithm of latency."""
    from mmyolonas.search.report.comparison import SearchResult
    from mmyolonas.search.report.handover import spread_points
    return spread_points(SearchResult(dict(all=[list(points)]), {}, [0., slowest]), count)


# ------------------------------------------------------------------------- text
def frontier_text(sides: Sequence[Side], s: Any, aps: Dict[str, List[float]],
                  times: Dict[str, float], slices: Dict[str, float],
                  args: argparse.Namespace) -> str:
    """Return the tables: each network, then the hypervolumes."""
    seeds = args.fresh_seeds
    what = f'AP after training, {seeds} fresh seeds' if seeds else 'AP with inherited weights'
    lines = [f'INT8 on {args.target}, median ms; {what}, on images that chose nothing', '',
             '| found by | key | ms measured | ms predicted | AP the search saw | AP of the slice '
             '| AP | over S |', '|---|---|---|---|---|---|---|---|']
    rows = [(side.name, point) for side in sides for point in side.points]
    rows.append(('published S', s))
    for name, point in rows:
        found = aps[point.key]
        gain = ''
        if seeds > 1 and point.key != s.key:
            difference, half = mean_difference(found, aps[s.key])
            gain = f'{difference:+.1f} ± {half:.1f}'
        seen = '' if name == 'published S' else f'{point.accuracy:.1f}'
        lines.append(f'| {name} | {point.key} | {times[point.key]:.3f} | {point.latency:.3f} | '
                     f'{seen} | {slices[point.key]:.1f} | {np.mean(found):.1f} '
                     f'({", ".join(f"{a:.1f}" for a in found)}) | {gain} |')
    lines.append('')
    for side in sides:
        lines.append(f'{side.name}: {side.evaluated} architectures in {side.seconds:.0f} s of '
                     'processor time.')
    if seeds > 1:
        lines += _volumes(sides, s, aps, times)
    return '\n'.join(lines) + '\n'


def _volumes(sides: Sequence[Side], s: Any, aps: Dict[str, List[float]],
             times: Dict[str, float]) -> List[str]:
    """Return hypervolumes, intervals over the seeds of the trainings."""
    groups = {side.name: [p.key for p in side.points] for side in sides}
    groups['published S'] = [s.key]
    reference = (0., _SLOWEST * times[s.key])
    rng = np.random.default_rng(0)
    draws: Dict[str, List[float]] = {name: [] for name in groups}
    for _ in range(DRAWS):
        means = {key: float(np.mean(rng.choice(values, len(values))))
                 for key, values in aps.items()}
        for name, keys in groups.items():
            draws[name].append(volume(keys, means, times, reference))
    means = {key: float(np.mean(values)) for key, values in aps.items()}
    values = {name: volume(keys, means, times, reference) for name, keys in groups.items()}
    lines = ['', f'Hypervolume in AP x ms against no AP and {reference[1]:.2f} ms; 95 % '
             'intervals by bootstrap over the seeds of the trainings:', '']
    for name, value in values.items():
        low, high = np.percentile(draws[name], (2.5, 97.5))
        lines.append(f'- {name}: {value:.2f} ({low:.2f} .. {high:.2f})')
    first = sides[0].name
    for name in list(groups)[1:]:
        gaps = np.subtract(draws[first], draws[name])
        low, high = np.percentile(gaps, (2.5, 97.5))
        gap = Estimate(values[first] - values[name], float(low), float(high))
        lines.append(f'- {first} over {name}: {gap}')
    return lines


def volume(keys: Sequence[str], aps: Dict[str, float], times: Dict[str, float],
           reference: Sequence[float]) -> float:
    """Return the hypervolume of networks."""
    from mmyolonas.search.study.pareto import hypervolume
    return hypervolume([[-aps[key], times[key]] for key in keys], reference)
