"""Roboflow 100, or any folder of data sets in Roboflow's COCO layout.

run     train on each data set by the published protocol (100 epochs, 640 pixels, AdamW,
        EMA), choose the checkpoint on valid, score it on test. A line of results.csv is
        written as each data set ends. Called again after an interruption it goes on
        where it was; data sets that failed are tried again, the others are not.
report  tables by category and a chart beside the released numbers of YOLOv5, v7 and v8 and
        the published means of YOLO-NAS, with what may be compared; an INT8 column for
        data sets for which tools/quantize.py was run with --work-dir DIR/<data set>/int8.
sweep   choose learning rate, weight decay and EMA on a random subset of the data sets by
        the mean AP on valid: a grid, resumable, with a plot. Needs optuna.
"""
import argparse
from pathlib import Path
from typing import List, Tuple

from mmyolonas.utils import arguments
from mmyolonas.utils.cli import new_parser, run_main
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.outputs import check_folder
from mmyolonas.workflows.rf100.rf100_folders import find_datasets, shard_of
from mmyolonas.workflows.rf100.rf100_run import RF100Options, run_all

EXAMPLES = '''examples:
  python tools/rf100.py run --root data/rf100 --model s --pretrained yolonas_s_coco.pth
  python tools/rf100.py run --root data/rf100 --shard $SLURM_ARRAY_TASK_ID/10
  python tools/rf100.py report --work-dir work_dirs/rf100_s
  python tools/rf100.py sweep --root data/rf100 --count 6 --epochs 20 --lr 3e-4 5e-4 1e-3'''


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__, EXAMPLES)
    commands = parser.add_subparsers(dest='command', required=True, metavar='COMMAND')
    run = commands.add_parser('run', help='train and score')
    _add_training(run)
    run.add_argument('--shard', metavar='I/N', help='do the I-th of N parts (from 1), for job '
                     'arrays; all jobs share one --work-dir')
    report = commands.add_parser('report', help='write report.md, report.csv and report.png')
    report.add_argument('--work-dir', type=Path, required=True, help='that of `run`')
    report.add_argument('--out', type=Path, help='folder to write to (default: --work-dir)')
    sweep = commands.add_parser('sweep', help='choose hyper-parameters on a subset')
    _add_training(sweep)
    sweep.add_argument('--count', type=arguments.positive_int, default=6,
                       help='number of data sets (default: 6)')
    sweep.add_argument('--subset-seed', type=arguments.seed, default=0,
                       help='which ones (default: 0)')
    for name, what, values in (('lr', 'learning rates', [3e-4, 5e-4, 1e-3]),
                               ('wd', 'weight decays', [1e-5, 1e-4]),
                               ('ema', 'decays of the EMA', [0.9, 0.99])):
        sweep.add_argument(f'--{name}', nargs='+', type=float, default=values,
                           help=f'{what} (default: {" ".join(map(str, values))})')
    return parser.parse_args()


def _add_training(parser: argparse.ArgumentParser) -> None:
    parser.add_argument('--root', type=Path, required=True, help='folder of the data sets: '
                        '<root>/<name>/{train,valid,test}/_annotations.coco.json')
    parser.add_argument('--model', choices=['s', 'm', 'l'], default='s', help='default: s')
    parser.add_argument('--pretrained', metavar='CKPT', help='checkpoint to start from '
                        '(default: none, from scratch)')
    parser.add_argument('--datasets', nargs='+', metavar='NAME', help='these only')
    parser.add_argument('--work-dir', type=Path, help='folder of the results (default: '
                        'work_dirs/rf100_<model>, for a sweep work_dirs/rf100_sweep_<model>)')
    parser.add_argument('--config', help='config instead of configs/rf100/yolonas_<model>_rf100.py')
    parser.add_argument('--epochs', type=arguments.positive_int,
                        help='other than the 100 of the protocol')
    parser.add_argument('--workers', type=arguments.natural,
                        help='data workers of each loader (default: 4)')
    parser.add_argument('--seed', type=arguments.seed, default=0, help='default: 0')
    # kept as text: it is passed on to the trainings
    parser.add_argument('--cfg-options', nargs='+', default=[], metavar='KEY=VALUE',
                        help='override settings of the config')


def options_of(args: argparse.Namespace, folder: str) -> RF100Options:
    """Return the options of a run or sweep."""
    changes = list(args.cfg_options)
    if args.epochs is not None:
        changes = [*_epochs(args.epochs), *changes]
    if args.workers is not None:
        for loader in ('train', 'val', 'test'):
            changes += [f'{loader}_dataloader.num_workers={args.workers}',
                        f'{loader}_dataloader.persistent_workers={args.workers > 0}']
    work_dir = args.work_dir or Path('work_dirs') / f'{folder}_{args.model}'
    check_folder(work_dir)
    return RF100Options(args.root, work_dir, args.model, args.pretrained, args.config, args.seed,
                        changes)


def _epochs(epochs: int) -> List[str]:
    """Return the settings of a training of other length; below 9 epochs without warm-up."""
    if epochs < 1:
        raise UserError(f'--epochs must be at least 1, got {epochs}.')
    warmup = 3 if epochs >= 9 else 0
    changes = [f'train_cfg.max_epochs={epochs}', f'param_scheduler.1.begin={warmup}',
               f'param_scheduler.1.end={epochs}', f'param_scheduler.1.T_max={epochs - warmup}']
    return changes if warmup else [*changes, 'param_scheduler.0.start_factor=1.0']


def _shard(text: str) -> Tuple[int, int]:
    try:
        index, count = map(int, text.split('/'))
    except ValueError:
        raise UserError(f'--shard takes I/N, for example 3/10, got {text!r}.') from None
    return index, count


def run(args: argparse.Namespace) -> int:
    """Train and score; the exit code is 1 if a data set failed."""
    options = options_of(args, 'rf100')
    names, shard = find_datasets(args.root, args.datasets), ''
    if args.shard:
        index, count = _shard(args.shard)
        names, shard = shard_of(names, index, count), f'{index}of{count}'
    table = run_all(names, options, shard)
    failed = [row for row in table.rows if row.status != 'ok' and row.dataset in names]
    print(f'{len(names) - len(failed)} of {len(names)} data sets: {table.path}')
    for row in failed:
        print(f'  failed: {row.dataset}: {row.message}')
    return 1 if failed else 0


def report(args: argparse.Namespace) -> int:
    """Write the report."""
    from mmyolonas.workflows.rf100.rf100_report import read_report, report_text, write_report
    check_folder(args.out or args.work_dir, '--out' if args.out else '--work-dir')
    found = read_report(args.work_dir)
    files = write_report(found, args.out or args.work_dir)
    print(report_text(found))
    print('written: ' + ', '.join(map(str, files)))
    return 0


def sweep(args: argparse.Namespace) -> int:
    """Choose hyper-parameters."""
    from mmyolonas.workflows.rf100.rf100_sweep import choose_subset, run_sweep, sweep_text
    options = options_of(args, 'rf100_sweep')
    names = choose_subset(find_datasets(args.root, args.datasets), args.count, args.subset_seed)
    points = run_sweep(names, options, dict(lr=args.lr, wd=args.wd, ema=args.ema))
    print(sweep_text(points, names))
    best = points[0].params
    print('best: --cfg-options optim_wrapper.optimizer.lr={lr:g} '
          'optim_wrapper.optimizer.weight_decay={wd:g} custom_hooks.0.decay={ema:g}'.format(**best))
    print(f'plot: {options.work_dir / "sweep.png"}')
    return 0


def main() -> int:
    """Run the tool."""
    args = parse_args()
    return dict(run=run, report=report, sweep=sweep)[args.command](args)


if __name__ == '__main__':
    run_main(main)
