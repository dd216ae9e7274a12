"""NSGA-II and random search over accuracy and latency, several seeds of each."""
from dataclasses import dataclass, field
from functools import partial
from typing import Dict, List, Optional, Sequence, Union

import numpy as np

from mmyolonas.search.accuracy.evaluation import Evaluator, Point, Predictor, objectives
from mmyolonas.search.accuracy.inherited import Inherited
from mmyolonas.search.accuracy.rungs import ScoreKeeper
from mmyolonas.search.preparation import Target, load_table, table_path
from mmyolonas.search.project import Project
from mmyolonas.search.report.plots import plot_hypervolume, plot_points
from mmyolonas.search.space.encoding import Genome
from mmyolonas.search.space.space import genome_key
from mmyolonas.search.study.frontier import frontier, points_csv
from mmyolonas.search.study.pareto import hypervolume_history
from mmyolonas.search.study.storage import open_storage
from mmyolonas.search.study.study import SAMPLERS, Search, SearchSettings
from mmyolonas.utils.files import file_digest, write_text
from mmyolonas.utils.names import csv_cell

#: Points of the curves of hypervolume.
_STEPS = 20


@dataclass
class SearchPlan:
    """How the search and its base line are run.

    Args:
        budget (int): Architectures for each seed and sampler.
        seeds (int): Seeds 0, 1, ...
        samplers (Sequence[str]): ``'nsga2'``, ``'random'``.
        population (int): Architectures of a generation.
        names (Sequence[str]): Objectives.
        max_ms (float, optional): Slower architectures are useless; None for the
            slowest published model's latency.
        storage (str, optional): URL or file; None for a file in the folder.
        name (str): First part of the studies' names.
        int8 (bool): Whether accuracy is that of INT8 files, from a supernet.
    """
    budget: int = 300
    seeds: int = 3
    samplers: Sequence[str] = SAMPLERS
    population: int = 32
    names: Sequence[str] = ('accuracy', 'latency')
    max_ms: Optional[float] = None
    storage: Optional[str] = None
    name: str = 'search'
    int8: bool = False


@dataclass
class SearchResult:
    """What came out.

    Args:
        points (dict): Evaluated points by sampler, a list for each seed.
        published (dict): Published models by name.
        reference (list[float]): Worst values for the hypervolume, (-AP, ms, ...).
        steps (list[int]): Numbers of architectures.
        curves (dict): Hypervolume at each of them, a row for each seed, by sampler.
    """
    points: Dict[str, List[List[Point]]]
    published: Dict[str, Point]
    reference: List[float]
    steps: List[int] = field(default_factory=list)
    curves: Dict[str, np.ndarray] = field(default_factory=dict)

    def all_points(self) -> List[Point]:
        """Return every architecture once."""
        found = {p.key: p for runs in self.points.values() for run in runs for p in run}
        return list(found.values())


def make_evaluator(project: Project, target: Target,
                   predictor: Union[Predictor, Inherited, None] = None,
                   int8: bool = False) -> Evaluator:
    """Return what gives architectures their points on a target.

    Args:
        project (Project): The folder.
        target (Target): The target.
        predictor (Predictor | Inherited, optional): Of accuracy; None gives NaN.
        int8 (bool): Whether a supernet's parts are scored as INT8 files of the target.
    """
    if isinstance(predictor, Inherited):
        measure = partial(predictor.score_int8, runtime=target.name,
                          threads=target.num_threads) if int8 else predictor.score
        return Evaluator(project.space, project.recipe.num_classes, load_table(project, target),
                         target.precision, measure=measure)
    keeper = ScoreKeeper(project.space, project.recipe, project.path('scores.jsonl'))

    def extra(genome: Genome, names: Sequence[str]) -> Dict[str, float]:
        found = keeper.compute([genome], names)[genome_key(genome)]
        return {name: found[name][0] for name in names}

    return Evaluator(project.space, project.recipe.num_classes, load_table(project, target),
                     target.precision, predictor, extra)


def search(project: Project, target: Target, plan: SearchPlan,
           predictor: Union[Predictor, Inherited], trained: int) -> SearchResult:
    """Run NSGA-II and random search with several seeds.

    Args:
        project (Project): The folder.
        target (Target): What the networks are to run on.
        plan (SearchPlan): How much.
        predictor (Predictor | Inherited): Of accuracy.
        trained (int): Number of trainings behind a predictor.

    Returns:
        SearchResult: Also as ``points_<target>.csv``, ``hypervolume_<target>.csv`` and
        pictures.
    """
    evaluate = make_evaluator(project, target, predictor, plan.int8)
    published = {name: evaluate(genome) for name, genome in project.published().items()}
    max_ms = plan.max_ms or max(point.latency for point in published.values())
    storage = open_storage(plan.storage or project.path('studies.log'))
    measured = isinstance(predictor, Inherited)
    context = dict(target=target.label, recipe=project.recipe.fingerprint,
                   table=file_digest(table_path(project, target))[:12],
                   predictor=[predictor.fingerprint, *['int8'] * plan.int8] if measured else
                   [*predictor.names, predictor.with_choices, trained])
    result = SearchResult({}, published, _reference(plan.names, max_ms, published))
    for sampler in plan.samplers:
        for seed in range(plan.seeds):
            settings = SearchSettings(plan.budget, sampler, seed, plan.population, plan.names,
                                      max_ms)
            name = f'{plan.name}-{target.label}-' + (
                'supernet' + '-int8' * plan.int8 if measured else str(trained))
            run = Search(project.space, evaluate, storage, settings, context, name)
            result.points.setdefault(sampler, []).append(run.run())
    result.steps = sorted({round(x) for x in np.linspace(1, plan.budget, _STEPS)})
    result.curves = {sampler: np.array([
        hypervolume_history(objectives(points, plan.names), result.reference, result.steps)
        for points in runs]) for sampler, runs in result.points.items()}
    write_search(project, target, result)
    return result


def _reference(names: Sequence[str], max_ms: float,
               published: Dict[str, Point]) -> List[float]:
    """Return the fixed worst point: no AP, the slowest and largest that is of use."""
    worst = dict(accuracy=0., latency=max_ms,
                 memory=max(point.memory for point in published.values()))
    return [worst[name] for name in names]


def write_search(project: Project, target: Target, result: SearchResult) -> None:
    """Write tables and pictures of a search."""
    label = target.label
    points, columns = [], dict(sampler=[], seed=[], trial=[])
    for sampler, runs in result.points.items():
        for seed, run in enumerate(runs):
            points += run
            columns['sampler'] += [sampler] * len(run)
            columns['seed'] += [seed] * len(run)
            columns['trial'] += range(1, len(run) + 1)
    write_text(project.path(f'points_{label}.csv'), points_csv(points, project.space, columns))
    lines = ['sampler,seed,architectures,hypervolume']
    for sampler, rows in result.curves.items():
        lines += [f'{csv_cell(sampler)},{seed},{step},{value:.6f}' for seed, row in enumerate(rows)
                  for step, value in zip(result.steps, row)]
    write_text(project.path(f'hypervolume_{label}.csv'), '\n'.join(lines) + '\n')
    plot_hypervolume(result.steps, result.curves, project.path(f'hypervolume_{label}.png'))
    by_sampler = {sampler: [p for run in runs for p in run]
                  for sampler, runs in result.points.items()}
    plot_points(by_sampler, result.published, project.path(f'frontier_{label}.png'),
                target.label)
    write_text(project.path(f'published_{label}.csv'),
               points_csv(list(result.published.values()), project.space))
    write_text(project.path(f'frontier_{label}.csv'), points_csv(
        frontier(result.all_points()), project.space))
