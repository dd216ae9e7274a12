"""Does accuracy with inherited weights rank architectures, and does the search gain by it?

On drawn shapes at 64 px, by the recipe configs/search/yolonas_sample_supernet.py:

rank      random architectures trained alone (two seeds) beside three supernets: Kendall's tau
          of inherited AP, parameters and FLOPs with AP after training, over all and within
          thirds of measured latency, and the tau between the seeds of the trainings
frontier  NSGA-II over inherited AP, random search with as many trainings as take the same
          processor time, and published S; what each finds is trained anew with fresh seeds
          and three times the steps, scored on images that chose nothing, and timed;
          hypervolume of both

Inherited AP and the random search's choice come from one half of the validation images, all
AP that is reported from the other. Stopped and started again with the same options, it goes on
where it was; --minutes ends a call between two pieces of work.

    python benchmarks/supernet.py rank --minutes 10
    python benchmarks/supernet.py rank --long --minutes 10
    python benchmarks/supernet.py frontier --minutes 10
"""
import argparse
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.ranks import ceiling, tau, tau_gain, thirds, without_noise  # noqa: E402
from benchmarks.supernet_plots import plot_ranks  # noqa: E402
from mmyolonas.utils import arguments  # noqa: E402
from mmyolonas.utils.cli import new_parser, run_main  # noqa: E402
from mmyolonas.utils.files import read_json, write_json, write_text  # noqa: E402
from mmyolonas.utils.progress import track  # noqa: E402

RECIPE = ROOT / 'configs' / 'search' / 'yolonas_sample_supernet.py'
#: What the frontier is trained anew with: three times the steps.
LONG = RECIPE.with_name('yolonas_sample_supernet_long.py')
DATA = Path('data/search_shapes')
#: The space: no larger than S, without attention, one input size.
SPACE: Dict[str, Any] = dict(input_sizes=[64], max_size=1., max_arch='s',
                             fix={'*.attention': 'False'})


@dataclass
class Clock:
    """When a call is to end; None for never."""
    minutes: Optional[float]
    start: float = 0.

    def __post_init__(self) -> None:
        self.start = time.monotonic()

    @property
    def left(self) -> Optional[float]:
        """float: Seconds in which work may begin."""
        if self.minutes is None:
            return None
        return 60 * self.minutes - (time.monotonic() - self.start)

    def check(self, what: str) -> None:
        """End the call if the time is spent."""
        if self.left is not None and self.left <= 0:
            print(f'{what}: not done yet; call again')
            sys.exit(0)


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__)
    parser.add_argument('part', choices=('rank', 'frontier'))
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/supernet'))
    parser.add_argument('--count', type=arguments.positive_int, default=30,
                        help='random architectures (default: 30)')
    parser.add_argument('--alone-seeds', type=arguments.positive_int, default=2,
                        help='trainings of each alone (default: 2)')
    parser.add_argument('--net-seeds', type=arguments.positive_int, default=3,
                        help='supernets (default: 3)')
    parser.add_argument('--net-from', type=arguments.natural, default=0, metavar='SEED',
                        help='seed of the first supernet; a length is chosen with supernets '
                        'that are not reported (default: 0)')
    parser.add_argument('--length', type=arguments.positive, default=3.,
                        help="epochs of a supernet, in multiples of the recipe's (default: 3)")
    parser.add_argument('--long', action='store_true',
                        help='rank: trainings alone of three times the steps')
    parser.add_argument('--target', default='onnxruntime', choices=('onnxruntime', 'openvino'))
    parser.add_argument('--minutes', type=arguments.positive, help='begin nothing after this')
    parser.add_argument('--budget', type=arguments.positive_int, default=160,
                        help='frontier: architectures that are scored (default: 160)')
    parser.add_argument('--points', type=arguments.positive_int, default=4,
                        help='frontier: points of each side that are trained anew (default: 4)')
    parser.add_argument('--fresh-seeds', type=arguments.natural, default=3,
                        help='frontier: trainings of each; with 0 the search alone is done, and '
                        'AP is that with inherited weights (default: 3)')
    return parser.parse_args()


def open_project(args: argparse.Namespace) -> Any:
    """Return the folder of the search; the images are drawn if there are none."""
    from mmyolonas.datasets.samples.sample_data import generate_detection_samples
    from mmyolonas.search.project import Project
    if not (DATA / 'annotations' / 'instances_val.json').is_file():
        generate_detection_samples(str(DATA), 384, 256, size=96)
    return Project.open(args.work_dir / 'search', recipe=_near(RECIPE), **SPACE)


def _near(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def train_alone(project: Any, tasks: Sequence[Any], clock: Clock, what: str,
                recipe: Path = RECIPE) -> List[Any]:
    """Train architectures alone; ends the call where the time is spent."""
    from mmyolonas.search.accuracy.recipe import Recipe
    from mmyolonas.search.accuracy.short_training import ShortTrainings
    done = ShortTrainings(project.space, Recipe(_near(recipe)), project.folder).run(
        tasks, seconds=clock.left)
    if len(done) < len(tasks):
        print(f'{what}: {len(done)} of {len(tasks)} done; call again')
        sys.exit(0)
    return done


def supernet_folder(project: Any, args: argparse.Namespace, seed: int) -> Path:
    """Return the folder of a supernet."""
    name = f'supernet{seed}' if args.length == 1 else f'supernet{seed}_x{args.length:g}'
    return project.path(name)


def inherited(project: Any, args: argparse.Namespace, seed: int, clock: Clock) -> Any:
    """Train a supernet; return what scores architectures with its weights."""
    from mmyolonas.search.accuracy.inherited import Inherited
    from mmyolonas.search.accuracy.supernet_training import finished, train_supernet
    folder = supernet_folder(project, args, seed)
    if finished(folder) is None:
        clock.check('supernets')
        train_supernet(project.recipe, project.space, folder, seed, args.length)
    return Inherited(project.recipe, project.space, folder, project.path('inherited.jsonl'))


def median_times(project: Any, genomes: Dict[str, Any], target: str, clock: Clock,
                 name: str) -> Dict[str, float]:
    """Return the median milliseconds of the INT8 files of architectures, from a file if there."""
    from mmyolonas.search.study.verify import measure_models
    path = project.path(f'times_{name}_{target}.json')
    if path.is_file():
        kept = read_json(path, 'measured times', dict)
        if set(genomes) <= set(kept):
            return {key: kept[key] for key in genomes}
    clock.check('latencies')
    found = measure_models(project.space, genomes, project.recipe.num_classes, target, 'int8')
    times = {key: latency.median for key, latency in found.items()}
    write_json(path, times)
    return times


# ------------------------------------------------------------------------- rank
def rank(args: argparse.Namespace) -> None:
    """Print how well inherited AP ranks what was trained alone."""
    from mmyolonas.search.accuracy.evaluation import structure
    from mmyolonas.search.accuracy.short_training import Task
    from mmyolonas.search.space.space import genome_key
    clock = Clock(args.minutes)
    project = open_project(args)
    genomes = {genome_key(genome): genome for genome in project.sample(args.count)}
    seeds = range(args.alone_seeds)
    done = train_alone(project, [Task(genome, seed) for seed in seeds
                                 for genome in genomes.values()], clock, 'trainings alone',
                       LONG if args.long else RECIPE)
    runs, seconds = [], []
    for seed in range(args.net_from, args.net_from + args.net_seeds):
        source = inherited(project, args, seed, clock)
        runs.append([source.score(genome) for genome in track(
            list(genomes.values()), f'inherited AP, supernet {seed}')])
        seconds.append(spent(supernet_folder(project, args, seed)))
    times = median_times(project, genomes, args.target, clock, 'rank')
    alone = np.array([[100 * t.halves['report'] for t in done if t.seed == seed]
                      for seed in seeds])
    shapes = [structure(project.space, g, project.recipe.num_classes) for g in genomes.values()]
    columns = {'inherited AP': np.array(runs),
               'parameters': np.array([[s.params for s in shapes]], float),
               'FLOPs': np.array([[s.flops for s in shapes]], float),
               'measured latency': np.array([[times[key] for key in genomes]])}
    costs = dict(alone=sum(t.seconds for t in done), supernets=seconds,
                 scores=[r['seconds'] for r in source.records])
    groups = thirds([times[key] for key in genomes])
    text = rank_text(columns, alone, groups, costs)
    print(text)
    name = 'rank_long' if args.long else 'rank'
    plot_ranks(columns['inherited AP'], alone, groups, args.work_dir / f'{name}.png')
    write_text(args.work_dir / f'{name}.md', text)
    write_json(args.work_dir / f'{name}.json', dict(
        keys=list(genomes), alone=alone.tolist(), times=times, costs=costs,
        columns={name: rows.tolist() for name, rows in columns.items()}))


def spent(folder: Path) -> float:
    """Return the processor seconds of a supernet's training."""
    return sum(map(float, (folder / 'seconds.txt').read_text().split()))


def rank_text(columns: Dict[str, np.ndarray], alone: np.ndarray, groups: np.ndarray,
              costs: Dict[str, Any]) -> str:
    """Return the table of rank correlations.

    Args:
        columns (dict): Runs of each way to rank, shape (R, N), inherited AP first.
        alone (np.ndarray): AP of the trainings alone, shape (seeds, N).
        groups (np.ndarray): Third of measured latency of each architecture, shape (N, ).
        costs (dict): Processor seconds.
    """
    target = alone.mean(0)
    lines = [f'Kendall tau with AP after training alone, {alone.shape[1]} random architectures '
             f'x {len(alone)} seeds, 95 % intervals by bootstrap', '',
             '| | over all | within thirds of latency | fast | middle | slow |',
             '|---|---|---|---|---|---|']
    rows = dict(columns)
    if len(alone) > 1:
        rows['seed to seed'] = alone[:1]
    for name, runs in rows.items():
        goal = target if name in columns else alone[1:].mean(0)
        cells = [tau(runs, goal), tau(runs, goal, groups)]
        cells += [tau(runs[:, groups == third], goal[groups == third]) for third in range(3)]
        lines.append(f'| {name} | ' + ' | '.join(map(str, cells)) + ' |')
    own = columns['inherited AP']
    for name, runs in list(columns.items())[1:]:
        gains = (tau_gain(own, runs[0], target), tau_gain(own, runs[0], target, groups))
        lines.append(f'| inherited AP over {name} | {gains[0]} | {gains[1]} | | | |')
    if len(alone) > 1:
        lines += ['', noise_text(tau(own, target).value, alone)]
    each = ', '.join(str(tau(run[None], target)) for run in own)
    higher = float((own.mean(0) > target).mean())
    lines += ['', f'Each supernet: {each}.',
              f'Inherited AP {own.min():.1f} .. {own.max():.1f}, alone {target.min():.1f} .. '
              f'{target.max():.1f}; inherited is above alone in {100 * higher:.0f} %.',
              f'Processor time: trainings alone {costs["alone"]:.0f} s '
              f'({costs["alone"] / alone.size:.0f} s each), supernets '
              f'{", ".join(f"{s:.0f}" for s in costs["supernets"])} s, a score '
              f'{np.mean(costs["scores"]):.1f} s.']
    return '\n'.join(lines) + '\n'


def noise_text(found: float, alone: np.ndarray) -> str:
    """Return how far noise of the trainings alone limits what can be seen.

    Args:
        found (float): Tau of inherited AP with the mean of the trainings.
        alone (np.ndarray): AP of the trainings, shape (seeds, N).
    """
    pairs = [tau(alone[:place], one) for place, one in enumerate(alone) if place]
    own = float(np.mean([pair.value for pair in pairs]))
    text = f'Trainings alone agree from seed to seed with tau {", ".join(map(str, pairs))}'
    if any(pair.low <= 0 for pair in pairs):
        return (f'{text}: the interval contains zero, so what they rank is not known to repeat, '
                'and no ranking can be judged by them.')
    return (f'{text}; a ranking without error would have {ceiling(own, len(alone)):+.2f} with '
            f'their mean. Without the noise of the trainings inherited AP would have '
            f'{without_noise(found, own, len(alone)):+.2f} (values taken as normal).')


def main() -> None:
    """Run the tool."""
    args = parse_args()
    if args.part == 'rank':
        rank(args)
    else:
        from benchmarks.supernet_frontier import frontier
        frontier(args)


if __name__ == '__main__':
    run_main(main)
