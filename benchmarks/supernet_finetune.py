"""Real data: an architecture fine-tuned from its slice of a supernet, against published S.

Blood cells (BCCD) in data/bccd at 128 px, by configs/search/yolonas_bccd_supernet.py:

1. a supernet is trained and searched (NSGA-II over AP with inherited weights on one half of
   the validation images, and INT8 latency); the pick is the most accurate architecture within
   the latency of published S, or within a share of it (--share);
2. tools/finetune.py trains the pick from its slice, and S without weights for as many epochs
   as take the same processor time as supernet, search and fine-tuning of the pick together.

Both are scored on the test images, which chose nothing, and timed in turn. A second table has
S for the processor time of the pick's fine-tuning alone (--short): what one more model costs
once the supernet is there. Stopped and started again with the same options, it goes on where
it was; --minutes ends a call between two pieces of work.

    python benchmarks/supernet_finetune.py --data data/bccd --minutes 8
"""
import argparse
import json
import math
import resource
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.ranks import mean_difference  # noqa: E402
from benchmarks.supernet import SPACE, Clock, median_times, spent  # noqa: E402
from mmyolonas.utils import arguments  # noqa: E402
from mmyolonas.utils.cli import new_parser, run_main  # noqa: E402
from mmyolonas.utils.files import read_json, write_json, write_text  # noqa: E402

RECIPE = 'configs/search/yolonas_bccd_supernet.py'
SIZE = 128
#: Epochs of the two trainings of S that tell what an epoch and what all else costs.
_PILOTS = (1, 3)


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__)
    parser.add_argument('--data', type=Path, default=Path('data/bccd'))
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/supernet_finetune'))
    parser.add_argument('--budget', type=arguments.positive_int, default=60,
                        help='architectures that are scored (default: 60)')
    parser.add_argument('--share', type=arguments.positive, default=1.,
                        help='latency of the pick at most, in shares of S (default: 1)')
    parser.add_argument('--epochs', type=arguments.positive_int, default=8,
                        help='of the fine-tuning of the pick (default: 8)')
    parser.add_argument('--seeds', type=arguments.positive_int, default=3,
                        help='fine-tunings of each (default: 3)')
    parser.add_argument('--short', action='store_true', help='S for the time of the '
                        "pick's fine-tuning alone as well")
    parser.add_argument('--minutes', type=arguments.positive, help='begin nothing after this')
    return parser.parse_args()


def open_project(args: argparse.Namespace) -> Any:
    """Return the folder of the search: no larger than S, without attention."""
    from mmyolonas.search.project import Project
    root = f'{args.data.absolute()}/'
    options = {f'{split}_dataloader.dataset.data_root': root for split in ('train', 'val', 'test')}
    options['val_evaluator.ann_file'] = f'{root}valid/_annotations.coco.json'
    options['test_evaluator.ann_file'] = f'{root}test/_annotations.coco.json'
    return Project.open(args.work_dir / 'search', recipe=RECIPE, cfg_options=options,
                        **{**SPACE, 'input_sizes': [SIZE]})


def find_pick(project: Any, args: argparse.Namespace, clock: Clock) -> Dict[str, Any]:
    """Train and search a supernet; return the pick and the processor time of both."""
    from mmyolonas.search.accuracy.inherited import Inherited
    from mmyolonas.search.accuracy.supernet_training import finished, train_supernet
    from mmyolonas.search.preparation import Target, measure_operators, table_path
    from mmyolonas.search.report.comparison import SearchPlan, make_evaluator, search
    from mmyolonas.search.study.frontier import choose
    note = args.work_dir / f'pick_{args.share:g}.json'
    if note.is_file():
        return read_json(note, 'the pick', dict)
    folder, target = project.path('supernet'), Target()
    if finished(folder) is None:
        clock.check('supernet')
        train_supernet(project.recipe, project.space, folder)
    if not table_path(project, target).is_file():
        clock.check('operators')
        start = time.process_time()
        measure_operators(project, target, 6, ['int8'])
        write_json(project.path('table_seconds.json'), time.process_time() - start)
    clock.check('search')
    source = Inherited(project.recipe, project.space, folder, project.path('inherited.jsonl'))
    s = make_evaluator(project, target, None)(project.published()['s'])
    plan = SearchPlan(args.budget, 1, ['nsga2'], 20, max_ms=s.latency, name='benchmark')
    result = search(project, target, plan, source, 0)
    choice, = choose(result.all_points(), dict(pick=args.share * s.latency))
    genome = choice.point.genome
    source.save(genome, args.work_dir / f'pick_{args.share:g}.pth')
    seconds = dict(supernet=spent(folder),
                   table=json.loads(project.path('table_seconds.json').read_text()),
                   search=sum(r['seconds'] for r in source.records))
    pick = dict(genome=genome, inherited_ap=choice.point.accuracy,
                inherited_report_ap=source.score(genome, 'report'), seconds=seconds)
    write_json(note, pick)
    return pick


def finetune(args: argparse.Namespace, name: str, model: str, options: List[str],
             epochs: int, seed: int, clock: Clock) -> Dict[str, float]:
    """Call tools/finetune.py, or take what is there; return test AP and processor time."""
    from mmyolonas.utils.stages import run_tool
    work = (args.work_dir / f'{name}_{epochs}_{seed}').absolute()
    note = work / 'result.json'
    if note.is_file():
        return read_json(note, 'a result', dict)
    clock.check(f'fine-tuning {name}')
    begun = work / 'begun.json'
    before = read_json(begun, 'calls', list) if begun.is_file() else []
    write_json(begun, [*before, seed])
    start = _children_seconds()
    run_tool([str(ROOT / 'tools' / 'finetune.py'), str(args.data), '--work-dir', str(work),
              '--model', model, '--epochs', str(epochs), '--imgsz', str(SIZE), '--patience', '0',
              '--seed', str(seed), *options], work.with_suffix('.log'),
             show=r'Epoch\(val\).*mAP: .*')
    seconds = _children_seconds() - start
    reports = json.loads((work / 'evaluation' / 'report.json').read_text())
    *_, last = reports.values()
    result = dict(ap=100 * last['ap'], seconds=seconds, calls=len(before) + 1)
    write_json(note, result)
    for checkpoint in (work / 'train').glob('epoch_*.pth'):
        checkpoint.unlink()
    return result


def _children_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def epochs_for(seconds: float, pilots: List[Tuple[int, float]]) -> int:
    """Return the epochs of S that take at least a time.

    Args:
        seconds (float): Processor time.
        pilots (list[tuple[int, float]]): Epochs and processor time of two trainings.
    """
    (few, short), (many, long) = pilots
    epoch = (long - short) / (many - few)
    return max(1, math.ceil((seconds - (short - few * epoch)) / epoch))


def main() -> None:
    """Run the benchmark."""
    from mmyolonas.search.study.frontier import model_config_text
    args = parse_args()
    clock = Clock(args.minutes)
    project = open_project(args)
    pick = find_pick(project, args, clock)
    model = args.work_dir / f'pick_{args.share:g}.py'
    write_text(model, model_config_text(pick['genome'], project.space))
    weights = ['--pretrained', str(args.work_dir / f'pick_{args.share:g}.pth')]
    name = f'pick_{args.share:g}'
    ours = [finetune(args, name, str(model), weights, args.epochs, seed, clock)
            for seed in range(args.seeds)]
    pilots = [(epochs, finetune(args, 's', 's', [], epochs, 100, clock)['seconds'])
              for epochs in _PILOTS]
    alone = float(np.mean([run['seconds'] for run in ours]))
    whole = alone + sum(pick['seconds'].values())
    arms = {'pick from its slice': ours}
    for label, seconds in [('S, total time of the pick', whole),
                           *[('S, time of the fine-tuning', alone)] * args.short]:
        epochs = epochs_for(seconds, pilots)
        arms[f'{label}: {epochs} epochs'] = [
            finetune(args, 's', 's', [], epochs, seed, clock) for seed in range(args.seeds)]
    genomes = dict(pick=pick['genome'], s=project.published()['s'])
    times = {target: median_times(project, genomes, target, clock, name)
             for target in ('onnxruntime', 'openvino')}
    text = report(arms, pick, times)
    print(text)
    write_text(args.work_dir / f'{name}.md', text)
    write_json(args.work_dir / f'{name}_results.json', dict(arms=arms, times=times, pick=pick))


def report(arms: Dict[str, List[Dict[str, float]]], pick: Dict[str, Any],
           times: Dict[str, Dict[str, float]]) -> str:
    """Return the table."""
    lines = [f'| | test AP, {len(next(iter(arms.values())))} seeds | the pick is ahead by, 95 % | '
             'processor s of tools/finetune.py | of supernet, table and search |',
             '|---|---|---|---|---|']
    first = next(iter(arms.values()))
    before = sum(pick['seconds'].values())
    for name, runs in arms.items():
        aps = [run['ap'] for run in runs]
        ahead = ''
        if runs is not first and len(aps) > 1:
            difference, half = mean_difference([run['ap'] for run in first], aps)
            ahead = f'{difference:+.1f} ± {half:.1f}'
        lines.append(f'| {name} | {np.mean(aps):.1f} ({", ".join(f"{a:.1f}" for a in aps)}) | '
                     f'{ahead} | {np.mean([run["seconds"] for run in runs]):.0f} | '
                     f'{f"{before:.0f}" if runs is first else ""} |')
    parts = ', '.join(f'{name} {value:.0f} s' for name, value in pick['seconds'].items())
    lines += ['', f'Processor time before the fine-tuning: {parts}. Inherited AP of the pick: '
              f'{pick["inherited_ap"]:.1f} where it was chosen, {pick["inherited_report_ap"]:.1f} '
              'on the other half of the validation images.', '',
              'Median ms of the INT8 files, pick and S: ' + '; '.join(
                  f'{target} {found["pick"]:.2f} and {found["s"]:.2f}'
                  for target, found in times.items()) + '.']
    calls = max(run['calls'] for runs in arms.values() for run in runs)
    if calls > 1:
        lines += ['', 'Some trainings were interrupted: their processor time is of the last call.']
    return '\n'.join(lines) + '\n'


if __name__ == '__main__':
    run_main(main)
