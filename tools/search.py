"""Search the space of YOLO-NAS architectures for your own hardware.

space    count the space; print or write random or published architectures of it
latency  measure the operators of random architectures on the target: a table file
supernet train one network that holds the weights of every architecture: one training on
         your data, then a model for every latency
train    short trainings of random and published architectures by one recipe, to check
         what tells architectures apart
rungs    rank correlation of every training-free score, of size and FLOPs and of the
         surrogate with those trainings; what does not beat size and FLOPs is not used
search   NSGA-II over accuracy with inherited weights (without a supernet: predicted) and
         latency, and random search at the same budget, several seeds; config and, from a
         supernet, checkpoint of the chosen models
verify   train points of the frontier and time them on the target
report   one page from what is there
run      all of it, in order

Everything lies in --work-dir; each step goes on where an interrupted call stopped, and
several processes may work on `train` (--shard) and `search` (--storage) at once. See
docs/en/search.md for the method and its limits.
"""
import argparse
from pathlib import Path
from typing import List

import numpy as np

from mmyolonas.search.options import add_project, add_target, values_of
from mmyolonas.utils import arguments
from mmyolonas.utils.cli import new_parser, run_main
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.outputs import check_folder

EXAMPLES = '''examples:
  python tools/search.py space --input-sizes 320 640
  python tools/search.py run --recipe configs/search/yolonas_sample_short.py \\
      --input-sizes 96 128 --max-size 1.3 --work-dir work_dirs/search
  python tools/search.py search --work-dir work_dirs/search --target openvino --precision fp32
  python tools/search.py search --work-dir work_dirs/search --target-ms 2.5 \\
      --base configs/yolonas/yolonas_s_coco.py'''


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__, EXAMPLES)
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    space = commands.add_parser('space', help='count the space, show architectures')
    space.add_argument('--task', choices=['detection', 'pose'], default='detection')
    space.add_argument('--input-sizes', nargs='+', type=arguments.side, metavar='PIXELS')
    space.add_argument('--sample', type=arguments.natural, default=0, metavar='N',
                       help='show N random ones')
    space.add_argument('--seed', type=arguments.seed, default=0)
    space.add_argument('--write', type=Path, metavar='DIR', help='write them as model configs '
                       'for tools/finetune.py --model')
    for name, text in (('latency', 'measure operators'), ('supernet', 'one training for all'),
                       ('train', 'short trainings'),
                       ('rungs', 'worth of scores and surrogate'), ('search', 'NSGA-II'),
                       ('verify', 'train and time what was found'), ('report', 'one page'),
                       ('run', 'all steps')):
        command = commands.add_parser(name, help=text)
        add_project(command)
        if name not in ('supernet', 'train', 'rungs'):
            add_target(command)
        if name in ('train', 'verify', 'run'):
            command.add_argument('--limit', type=arguments.natural,
                                 help='most trainings of this call; the rest '
                                 'is left for the next')
        if name == 'run':
            command.add_argument('--rounds', type=arguments.positive_int, default=1,
                                 help='times to search, train '
                                 'what was found and fit the surrogate anew (default: 1)')
        for step, add in STEPS.items():
            if name in (step, 'run') or (name, step) == ('search', 'rungs'):
                add(command)
    return parser.parse_args()


def _add_latency(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--networks', type=arguments.positive_int, default=60, metavar='N',
                        help='random '
                        'architectures to be measured beside the published ones (default: 60)')
    parser.add_argument('--precisions', nargs='+', metavar='P', help='default: --precision and '
                        'what the target has besides')


def _add_supernet(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--length', type=arguments.positive, default=1.,
                        help="supernet: epochs in multiples of the recipe's (default: 1)")
    parser.add_argument('--launcher', choices=['none', 'pytorch', 'slurm', 'mpi'], default='none',
                        help='supernet: for several processes (torchrun)')


def _add_train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--count', type=arguments.natural, default=30,
                        help='random architectures to be trained alone, to see how well a search '
                        'ranks them (default: 30)')
    parser.add_argument('--published', nargs='*', default=['s'], metavar='NAME',
                        help='published models to be trained alike (default: s)')
    names = ('--seeds', '--alone-seeds') if parser.prog.endswith(' train') else ('--alone-seeds', )
    parser.add_argument(*names, dest='alone_seeds', type=arguments.positive_int, default=1,
                        metavar='N', help='train: trainings of each; two tell how far any ranking '
                        'of them can be right (default: 1)')
    parser.add_argument('--shard', default='1/1', metavar='I/N', help='train: do the I-th of N '
                        'parts, for several processes with one --work-dir')


def _add_rungs(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--scores', nargs='*', metavar='NAME', help='training-free scores that '
                        'need weights: naswot zico synflow (default: all)')


def _add_search(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--budget', type=arguments.positive_int, default=300,
                        help='architectures of each seed and sampler (default: 300)')
    parser.add_argument('--seeds', type=arguments.positive_int, default=3,
                        help='number of seeds (default: 3)')
    parser.add_argument('--population', type=arguments.integer(2), default=32, help='default: 32')
    parser.add_argument('--samplers', nargs='+', default=['nsga2', 'random'],
                        choices=['nsga2', 'random'], help='default: nsga2 random')
    parser.add_argument('--memory', action='store_true',
                        help='a third objective: megabytes of weights and largest feature map')
    parser.add_argument('--max-ms', type=arguments.positive,
                        help='slower architectures are useless '
                        '(default: latency of the slowest published model)')
    parser.add_argument('--storage', help='file of the studies, or a URL such as '
                        'postgresql://user@host/name that several machines share (default: '
                        'studies.log in the folder)')
    parser.add_argument('--name', default='search', help="first part of the studies' names")
    parser.add_argument('--target-ms', nargs='+', type=arguments.positive, default=[], metavar='MS',
                        help='choose the most accurate model for each of these latencies '
                        '(default: those of the published models)')
    parser.add_argument('--accuracy', choices=['float', 'int8'], default='float',
                        help='from a supernet: what the search maximises; int8 is AP of the file '
                        'that the target runs, some seconds for each architecture (default: float, '
                        'and the leaders in int8)')
    parser.add_argument('--leaders', type=arguments.positive_int, default=3, metavar='N',
                        help='from a supernet, for int8: the N most accurate of each limit are '
                        'quantised, the best in 8 bit is chosen (default: 3)')
    parser.add_argument('--base', metavar='CONFIG', help='config that the configs of the chosen '
                        'models inherit data and schedule from (default: the recipe)')


def _add_verify(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--points', type=arguments.natural, default=4,
                        help='points of the frontier to be '
                        'trained beside the chosen (default: 4)')
    parser.add_argument('--rivals', nargs='*', default=['s'], metavar='NAME',
                        help='published models to be trained alike (default: s)')
    parser.add_argument('--train-seeds', type=arguments.positive_int, default=1,
                        help='trainings of each (default: 1)')
    parser.add_argument('--repeats', type=arguments.positive_int, default=50,
                        help='timed runs (default: 50)')


STEPS = dict(latency=_add_latency, supernet=_add_supernet, train=_add_train, rungs=_add_rungs,
             search=_add_search, verify=_add_verify)


# ------------------------------------------------------------------------ commands
def space_command(args: argparse.Namespace) -> None:
    """Count the space and show architectures."""
    from mmyolonas.search.space.encoding import describe
    from mmyolonas.search.space.space import Space
    from mmyolonas.search.space.space_table import INPUT_SIZES, PUBLISHED
    from mmyolonas.search.study.frontier import model_config_text
    from mmyolonas.utils.files import write_text
    if args.write:
        check_folder(args.write, '--write')
    space = Space(args.task, args.input_sizes or INPUT_SIZES)
    for gene in space.genes:
        print(f'  {gene.name:<24}{", ".join(map(str, gene.values))}')
    print(f'{len(space.genes)} choices, {space.size} = {space.size:.2e} architectures')
    shown = {name: space.published(name) for name in PUBLISHED[args.task]}
    rng = np.random.default_rng(args.seed)
    shown.update({f'random{i}': space.sample_genome(rng) for i in range(args.sample)})
    for name, genome in shown.items():
        print(f'{name}: {describe(genome)}')
        if args.write:
            write_text(args.write / f'{name}.py', model_config_text(genome, space))


def open_project(args: argparse.Namespace):
    """Return the folder's search and the target of the options."""
    from mmyolonas.search.preparation import Target
    from mmyolonas.search.project import Project
    check_folder(args.work_dir)
    project = Project.open(args.work_dir, recipe=args.recipe, cfg_options=args.cfg_options,
                           input_sizes=args.input_sizes, max_size=args.max_size,
                           seed=args.sample_seed, fix=values_of(args.fix), max_arch=args.max_arch,
                           trunk=args.head_only)
    if not hasattr(args, 'target'):
        return project, None
    from mmyolonas.search.latency.operator_timing import TARGETS
    if args.target not in TARGETS:
        raise UserError(f'unknown target {args.target!r}; choose one of {", ".join(TARGETS)}.')
    return project, Target(args.target, args.precision, args.threads, args.table)


def latency_command(args: argparse.Namespace) -> None:
    """Measure the target's operators."""
    from mmyolonas.search.latency.operator_timing import TARGETS
    from mmyolonas.search.preparation import measure_operators, table_path
    project, target = open_project(args)
    precisions = args.precisions or list(dict.fromkeys(
        [*TARGETS[target.name][:2], args.precision]))
    table = measure_operators(project, target, args.networks, precisions)
    for precision in table.precisions:
        if (found := table.accuracy(precision)) is not None:
            print(f'{precision}: Spearman {found.spearman:.3f}, mean error '
                  f'{100 * found.error:.1f} % (cross-validated)')
    print(table_path(project, target))


def supernet_command(args: argparse.Namespace) -> None:
    """Train the supernet."""
    from mmyolonas.search.accuracy.supernet_training import train_supernet
    project, _ = open_project(args)
    print(train_supernet(project.recipe, project.space, project.path('supernet'),
                         project.settings.seed, args.length, args.launcher))


def train_command(args: argparse.Namespace) -> bool:
    """Train a sample; return whether it is complete."""
    from mmyolonas.search.preparation import train
    project, _ = open_project(args)
    try:
        index, parts = map(int, args.shard.split('/'))
        if not 1 <= index <= parts:
            raise ValueError
    except ValueError:
        raise UserError(f'--shard takes I/N, for example 3/10, got {args.shard!r}.') from None
    every = args.alone_seeds * (args.count + len(args.published))
    wanted = len(range(index - 1, every, parts))
    done = train(project, args.count, args.published, args.limit, (index, parts),
                 args.alone_seeds)
    print(f'{len(done)} of {wanted} trainings are done')
    return len(done) == wanted


def rungs_command(args: argparse.Namespace) -> None:
    """Judge the rungs."""
    from mmyolonas.search.preparation import climb, rungs_text
    project, _ = open_project(args)
    ladder = climb(project, args.scores)
    print(rungs_text(ladder))
    print(f'the search predicts accuracy from {", ".join(ladder.predictor.names)}'
          + (' and every choice' if ladder.predictor.with_choices else ''))


def search_command(args: argparse.Namespace):
    """Search; return the result."""
    from mmyolonas.search.accuracy.inherited import Inherited
    from mmyolonas.search.preparation import accuracy_source, load_table
    from mmyolonas.search.report.comparison import SearchPlan, search
    from mmyolonas.search.report.handover import chosen_text, hand_over
    project, target = open_project(args)
    load_table(project, target)  # what is wrong with it is said before the rungs are climbed
    source = accuracy_source(project, args.scores)
    names = ('accuracy', 'latency', 'memory')[:3 if args.memory else 2]
    plan = SearchPlan(args.budget, args.seeds, args.samplers, args.population, names, args.max_ms,
                      args.storage, args.name, args.accuracy == 'int8')
    if plan.int8 and not (isinstance(source, Inherited) and args.precision == 'int8'):
        raise UserError('--accuracy int8 needs a supernet (tools/search.py supernet) and '
                        '--precision int8.')
    result = search(project, target, plan, source, len(project.trainings()))
    for sampler, rows in result.curves.items():
        last = rows[:, -1]
        print(f'{sampler}: hypervolume {last.mean():.3f}, each {np.round(last, 3).tolist()}')
    base = args.base or project.settings.recipe
    for name, path in hand_over(project, target, result, base, args.target_ms, source,
                                args.leaders).items():
        print(f'{name}: {path}')
    print(chosen_text(project, target))
    return result


def verify_command(args: argparse.Namespace) -> bool:
    """Train and time; return whether all wanted trainings are done."""
    from mmyolonas.search.report.handover import (
        candidates,
        dominating,
        hand_over_trained,
        read_result,
        train_chosen,
        verify,
    )
    from mmyolonas.search.report.plots import plot_points
    from mmyolonas.search.report.report import verified_text
    project, target = open_project(args)
    result = read_result(project, target)
    found = candidates(project, target, result, args.points)
    seeds: List[int] = list(range(args.train_seeds))
    wanted = (len(found) + len(args.rivals)) * len(seeds)
    done = train_chosen(project, list(found.values()), args.rivals, args.limit, seeds)
    if len(done) < wanted:
        print(f'{len(done)} of {wanted} trainings are done; call again')
        return False
    points = {**found, **{f'published {n}': p for n, p in result.published.items()}}
    verified = verify(project, target, points, args.repeats)
    plot_points(dict(all=result.all_points()), result.published,
                project.path(f'verified_{target.label}.png'), target.label,
                [(row.name, row.median_ms, row.ap) for row in verified if row.aps])
    print(verified_text(verified))
    names = [row.name for row in dominating(verified)]
    print('faster than published S at equal or better AP: ' + (', '.join(names) or 'none'))
    for name, path in hand_over_trained(project, target, verified, points).items():
        print(f'best trained for {name}: {path}')
    return True


def report_command(args: argparse.Namespace) -> None:
    """Write the report."""
    from mmyolonas.search.report.report import write_report
    project, target = open_project(args)
    print(write_report(project, target))


def run_command(args: argparse.Namespace) -> None:
    """Do everything in order."""
    from mmyolonas.search.accuracy.rungs import MIN_TRAININGS
    from mmyolonas.search.preparation import table_path
    project, target = open_project(args)
    if not table_path(project, target).is_file():
        latency_command(args)
    supernet_command(args)
    if args.count and not train_command(args):
        return
    if len({training.key for training in project.trainings('random')}) >= MIN_TRAININGS:
        rungs_command(args)
    for number in range(1, args.rounds + 1):
        print(f'--- round {number} of {args.rounds}: {len(project.trainings())} trainings')
        search_command(args)
        if not verify_command(args):
            return
    report_command(args)


COMMANDS = dict(space=space_command, latency=latency_command, supernet=supernet_command,
                train=train_command, rungs=rungs_command, search=search_command,
                verify=verify_command, report=report_command, run=run_command)


def main() -> None:
    """Run the tool."""
    args = parse_args()
    COMMANDS[args.command](args)


if __name__ == '__main__':
    run_main(main)
