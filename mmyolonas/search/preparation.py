"""The first steps of a search: times of operators, short trainings, worth of the rungs."""
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple, Union

import numpy as np

from mmyolonas.search.accuracy.evaluation import Predictor, structure
from mmyolonas.search.accuracy.inherited import Inherited
from mmyolonas.search.accuracy.rungs import (
    MIN_TRAININGS,
    Ladder,
    Rung,
    ScoreKeeper,
    bootstrap_tau,
    judge,
    kendall,
)
from mmyolonas.search.accuracy.scores import SCORES
from mmyolonas.search.accuracy.short_training import ShortTrainings, Training
from mmyolonas.search.accuracy.supernet_training import finished
from mmyolonas.search.accuracy.surrogate import Surrogate
from mmyolonas.search.latency.operator_measurement import measure_table
from mmyolonas.search.latency.operator_table import OperatorTable
from mmyolonas.search.project import Project
from mmyolonas.search.report.plots import plot_rungs
from mmyolonas.search.space.architecture import build
from mmyolonas.search.space.encoding import Genome
from mmyolonas.search.space.space import genome_key
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import write_json, write_text
from mmyolonas.utils.progress import track


@dataclass
class Target:
    """What the found networks are to run on.

    Args:
        name (str): ``'onnxruntime'``, ``'openvino'``, ``'tensorrt'`` or ``'tensorrt_rtx'``.
        precision (str): ``'fp32'``, ``'fp16'`` or ``'int8'``.
        num_threads (int): Threads of the runtime.
        table (str, optional): Table of operator times; None for the folder's.
    """
    name: str = 'onnxruntime'
    precision: str = 'int8'
    num_threads: int = 1
    table: Optional[str] = None

    @property
    def label(self) -> str:
        """str: For names of files."""
        return f'{self.name}-{self.precision}'


# ---------------------------------------------------------------------- latency
def table_path(project: Project, target: Target) -> Path:
    """Return where the table of a target's operators lies."""
    return Path(target.table) if target.table else project.path(f'operators_{target.name}.json')


def measure_operators(project: Project, target: Target, count: int,
                      precisions: Sequence[str]) -> OperatorTable:
    """Measure the operators of random architectures and of the published models."""
    rng = np.random.default_rng((project.settings.seed, 1))
    genomes = {f'published {name}': genome for name, genome in project.published().items()}
    for _ in range(count):
        genome = project.space.sample_genome(rng)
        genomes[genome_key(genome)] = genome

    def maker(genome: Genome) -> Any:
        return lambda: build(project.space.decode(genome), project.recipe.num_classes)

    path = table_path(project, target)
    path.parent.mkdir(parents=True, exist_ok=True)
    return measure_table([(name, maker(genome), genome['input_size'])
                          for name, genome in genomes.items()],
                         target.name, precisions, num_threads=target.num_threads, path=path)


def load_table(project: Project, target: Target) -> OperatorTable:
    """Return the table of a target.

    Raises:
        UserError: There is none, or it lacks the precision.
    """
    path = table_path(project, target)
    if not path.is_file():
        raise UserError(f'there is no table of operator latencies {path}; measure one with '
                        f'tools/search.py latency --target {target.name}, or give --table.')
    table = OperatorTable.load(path, target.num_threads)
    if table.target != target.name:
        raise UserError(f'{path} is of {table.target}, not of {target.name}.')
    if target.precision not in table.precisions:
        raise UserError(f'{path} was measured in {", ".join(table.precisions)}, not in '
                        f'{target.precision}.')
    return table


# --------------------------------------------------------------------- accuracy
def train(project: Project, count: int, published: Sequence[str] = ('s', ),
          limit: Optional[int] = None, shard: Tuple[int, int] = (1, 1),
          seeds: int = 1) -> List[Training]:
    """Train a sample of architectures, and published models.

    Args:
        project (Project): The folder.
        count (int): Number of random architectures.
        published (Sequence[str]): Published models to be trained alike.
        limit (int, optional): Most trainings of this call.
        shard (tuple[int, int]): Do the i-th of n parts, from 1.
        seeds (int): Trainings of each, seeds 0, 1, ... Two tell how far a ranking can be
            right at all. Defaults to 1.
    """
    index, parts = shard
    tasks = project.tasks(count, published, seeds)[index - 1::parts]
    part = '' if parts == 1 else f'{index}of{parts}'
    return ShortTrainings(project.space, project.recipe, project.folder, part).run(tasks, limit)


def climb(project: Project, scores: Optional[Sequence[str]] = None) -> Ladder:
    """Judge every rung by the random architectures that were trained.

    Those a search proposed are left out: they are alike. The predictor is then fitted
    to all trainings.

    Args:
        project (Project): The folder.
        scores (Sequence[str], optional): Scores that need weights; None for all.

    Returns:
        Ladder: Also in ``rungs.json``, ``rungs.md`` and ``rungs.png``.
    """
    wanted = [score.name for score in SCORES.values() if not score.free
              and (scores is None or score.name in scores)]
    trained = mean_accuracy(project.trainings())
    random = mean_accuracy(project.trainings('random'))
    keeper = ScoreKeeper(project.space, project.recipe, project.path('scores.jsonl'))
    found = keeper.compute([t.genome for t in random.values()], wanted) if wanted else {}
    classes = project.recipe.num_classes
    ladder = judge(project.space, [t.genome for t in random.values()],
                   [100 * t.ap for t in random.values()], classes, found)
    ladder.noise = _seed_tau(project.trainings('random'))
    if finished(project.path('supernet')) is not None:
        rung = inherited_rung(project, Inherited(
            project.recipe, project.space, project.path('supernet'),
            project.path('inherited.jsonl')))
        ladder.rungs += [rung] if rung is not None else []
    needed = [name for name in ladder.predictor.names if name in wanted]
    if needed:
        found = keeper.compute([t.genome for t in trained.values()], needed)
    ladder.predictor = _fitted_to(trained, ladder.predictor, project, found)
    write_json(project.path('rungs.json'), dict(
        trainings=ladder.trainings, fitted=len(trained), noise=ladder.noise,
        predictor=dict(names=ladder.predictor.names, with_choices=ladder.predictor.with_choices),
        rungs=ladder.rows()))
    write_text(project.path('rungs.md'), rungs_text(ladder))
    plot_rungs(ladder.rungs, project.path('rungs.png'), ladder.trainings)
    return ladder


def inherited_rung(project: Project, source: Inherited) -> Optional[Rung]:
    """Return how inherited AP ranks the random architectures that were trained alone.

    Inherited AP is that of one half of the validation images, AP of the trainings (mean
    over their seeds) that of the other. None with too few trainings.
    """
    trained: Dict[str, List[Training]] = {}
    for training in project.trainings('random'):
        if training.halves and project.space.contains(training.genome):
            trained.setdefault(training.key, []).append(training)
    if len(trained) < MIN_TRAININGS:
        return None
    start = time.process_time()
    values = [source.score(group[0].genome)
              for group in track(list(trained.values()), 'inherited accuracy')]
    alone = [100 * float(np.mean([t.halves['report'] for t in group]))
             for group in trained.values()]
    seconds = (time.process_time() - start) / len(values)
    return Rung('inherited', 'score', kendall(values, alone), *bootstrap_tau(values, alone),
                seconds, used=True)


def accuracy_source(project: Project,
                    scores: Optional[Sequence[str]] = None) -> Union[Predictor, Inherited]:
    """Return what a search takes accuracy from: a trained supernet, else the best predictor.

    Says so in one line where it is not known to carry information.
    """
    folder = project.path('supernet')
    if finished(folder) is not None:
        source = Inherited(project.recipe, project.space, folder, project.path('inherited.jsonl'))
        rung = inherited_rung(project, source)
        if rung is None:
            print('accuracy: with weights inherited from the supernet. How well that ranks '
                  f'architectures here is not known; train {MIN_TRAININGS} or more alone to see: '
                  'tools/search.py train', flush=True)
        else:
            print(f'accuracy: with inherited weights, tau {rung.tau:+.2f} (95 % {rung.low:+.2f} to '
                  f'{rung.high:+.2f}) with trainings of their own', flush=True)
            if rung.low <= 0:
                print('warning: that interval contains zero: the ranking may carry no '
                      'information. Train the supernet longer (supernet --length) or more '
                      'architectures alone (train --count).', flush=True)
        return source
    ladder = climb(project, scores)
    used = next(rung for rung in ladder.rungs if rung.kind == 'model' and rung.used)
    if used.low <= 0:
        print(f'warning: the predictor of accuracy carries no information that {ladder.trainings} '
              f'trainings could show (tau {used.tau:+.2f}, 95 % {used.low:+.2f} to '
              f'{used.high:+.2f}): the search is as good as by latency alone. Train a supernet '
              '(tools/search.py supernet), or more architectures (train --count).', flush=True)
    return ladder.predictor


def mean_accuracy(trainings: Sequence[Training]) -> Dict[str, Training]:
    """Return one training for each architecture: the mean over its seeds."""
    by_key: Dict[str, List[Training]] = {}
    for training in trainings:
        by_key.setdefault(training.key, []).append(training)
    return {key: replace(group[0], ap=float(np.mean([t.ap for t in group])),
                         ap50=float(np.mean([t.ap50 for t in group])))
            for key, group in by_key.items()}


def _seed_tau(trainings: Sequence[Training]) -> Optional[float]:
    """Return Kendall's tau between two seeds, None below ten architectures."""
    seeds = sorted({t.seed for t in trainings})
    if len(seeds) < 2:
        return None
    first, second = ({t.key: t.ap for t in trainings if t.seed == seed} for seed in seeds[:2])
    both = sorted(set(first) & set(second))
    return kendall([first[k] for k in both], [second[k] for k in both]) if len(both) > 9 else None


def _fitted_to(trained: Dict[str, Training], like: Predictor, project: Project,
               scores: Dict[str, Dict[str, Tuple[float, float]]]) -> Predictor:
    """Return a predictor like another, fitted to all trainings."""
    rows, vectors = [], []
    for key, training in trained.items():
        numbers = dict(structure(project.space, training.genome,
                                 project.recipe.num_classes).numbers)
        numbers.update({name: value for name, (value, _) in scores.get(key, {}).items()})
        rows.append([numbers[name] for name in like.names])
        vectors.append(project.space.vector(training.genome))
    choices = np.stack(vectors) if like.with_choices else np.zeros((len(rows), 0))
    accuracy = np.array([100 * t.ap for t in trained.values()])
    return replace(like, surrogate=Surrogate(np.array(rows), choices, accuracy))


def rungs_text(ladder: Ladder) -> str:
    """Return the rungs as a Markdown table."""
    lines = [f'| rung | kind | Kendall tau with AP, {ladder.trainings} architectures | 95 % '
             'interval | s each | used |', '|---|---|---|---|---|---|']
    for rung in ladder.rungs:
        lines.append(f'| {rung.name} | {rung.kind} | {rung.tau:+.3f} | {rung.low:+.2f} .. '
                     f'{rung.high:+.2f} | {rung.seconds:.2f} | {"yes" if rung.used else ""} |')
    if ladder.noise is not None:
        lines.append(f'| another seed of the training itself | limit | {ladder.noise:+.3f} | | '
                     '| |')
    return '\n'.join(lines) + '\n'
