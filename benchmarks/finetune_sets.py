r"""How good the default of tools/finetune.py is, on several kinds of data.

Trains with the default and with each way of --ways on each set and seed, and prints AP on
the test images (on the validation images where there are none): mean and spread over the
seeds, and what the best way found by hand is ahead of the default, by the mean of the
*validation* AP, so that the test images choose nothing. With --target the time and the
steps until the validation AP first reached a score are printed as well.

Sets: folders below --data that tools/finetune.py reads (bccd, deeppcb, mouse_openfield,
...), and drawn ones that are made in the work folder: single (one large object on clutter),
crowd (many small objects), tail (rare classes), few (30 images).

What is done is not repeated, and a killed training goes on, so that it can be run in
pieces: timeout 600 python benchmarks/finetune_sets.py ... until it ends by itself.

    python benchmarks/finetune_sets.py --data data --sets bccd single tail --ways \
        mosaic='--mix mosaic' 'more epochs=--epochs 60'
"""
import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import ROOT
from mmyolonas.utils.cli import new_parser, run_main
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import write_json, write_text
from mmyolonas.utils.journal import read_lines
from mmyolonas.utils.stages import run_tool

#: Drawn sets: kind, training and validation images.
DRAWN = dict(single=('single', 200, 100), crowd=('crowd', 100, 50), tail=('tail', 300, 150),
             few=('shapes', 30, 100))


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__)
    parser.add_argument('--data', type=Path, default=ROOT / 'data', help='folder of the sets')
    parser.add_argument('--sets', nargs='+', default=['bccd', 'deeppcb', 'single', 'tail', 'few'])
    parser.add_argument('--ways', nargs='+', default=[], metavar='NAME=OPTIONS',
                        help='further ways: options of tools/finetune.py by name')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], help='default: 0 1 2')
    parser.add_argument('--common', default='', metavar='OPTIONS', help='options of '
                        'tools/finetune.py for all ways, the default too, in one word')
    parser.add_argument('--target', type=float, help='validation AP whose time is wanted')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/finetune_sets'))
    return parser.parse_args()


def ways_of(items: List[str]) -> Dict[str, List[str]]:
    """Return the options of each way, the default first."""
    ways: Dict[str, List[str]] = dict(default=[])
    for item in items:
        name, separator, options = item.partition('=')
        if not separator or not name or name in ways:
            raise UserError(f'--ways takes NAME=OPTIONS with different names, got {item!r}.')
        ways[name] = options.split()
    return ways


def folder_of(name: str, args: argparse.Namespace) -> Path:
    """Return the folder of a set; drawn ones are made."""
    if name not in DRAWN:
        if not (args.data / name).is_dir():
            raise UserError(f'{args.data / name} does not exist; give --data, or a drawn set: '
                            f'{", ".join(DRAWN)}.')
        return args.data / name
    from mmyolonas.datasets.samples.sample_data import generate_detection_samples
    kind, *counts = DRAWN[name]
    folder = args.work_dir / 'drawn' / name
    generate_detection_samples(str(folder), *counts, seed=7, kind=kind)
    return folder


def run(data: Path, work: Path, options: List[str], seed: int) -> Dict[str, Any]:
    """Fine-tune, or take what is there; return scores and times."""
    note = work / 'result.json'
    if note.is_file():
        return json.loads(note.read_text())
    run_tool([str(ROOT / 'tools' / 'finetune.py'), str(data), '--work-dir', str(work),
              '--seed', str(seed), *options], work.with_suffix('.log'),
             show=r'Epoch\(val\).*mAP: .*')
    reports = json.loads((work / 'evaluation' / 'report.json').read_text())
    *_, last = reports.values()
    stages = json.loads((work / 'stages.json').read_text())['stages']
    result = dict(ap=last['ap'], ap50=last['ap50'], val_ap=reports['val']['ap'],
                  seconds=stages['train']['seconds'], curve=curve_of(work / 'train'))
    write_json(note, result)
    for checkpoint in (work / 'train').glob('epoch_*.pth'):
        checkpoint.unlink()  # with the optimizer's state: 230 MB each
    return result


def curve_of(work: Path) -> List[Tuple[int, float, float]]:
    """Return (epoch, seconds of training, validation AP) of each validation.

    Seconds are those of the steps alone, data included, over all parts of a training
    that was killed and resumed.
    """
    seconds: Dict[int, float] = {}
    found: Dict[int, float] = {}
    for file in sorted(work.glob('*/vis_data/scalars.json')):
        last = 0
        for record in read_lines(file.read_bytes().splitlines(keepends=True)):
            if 'loss' in record:
                step, last = int(record['step']), int(record.get('epoch', last))
                seconds[step] = record['time']
            elif 'coco/bbox_mAP' in record:
                found[int(record['step'])] = record['coco/bbox_mAP']
    steps = sorted(seconds)
    total = sum(seconds[step] * (step - before) for before, step in zip([0, *steps], steps))
    epochs = max(found, default=1)
    return [(epoch, round(total * epoch / epochs, 1), value)
            for epoch, value in sorted(found.items())]


def mean_and_spread(values: List[float]) -> str:
    """Return mean and standard deviation over the seeds."""
    spread = f' ± {statistics.stdev(values):.3f}' if len(values) > 1 else ' (one seed)'
    return f'{statistics.mean(values):.3f}{spread}'


def time_to(runs: List[Dict[str, Any]], target: float) -> str:
    """Return when the validation AP first reached a score, in minutes of training."""
    times = []
    for item in runs:
        reached = [seconds for _, seconds, value in item['curve'] if value >= target]
        times.append(reached[0] / 60 if reached else None)
    return ', '.join('not reached' if t is None else f'{t:.1f} min' for t in times)


def table(results: Dict[str, Dict[str, List[Dict[str, Any]]]], target: Optional[float]) -> str:
    """Return a Markdown table of all sets and ways."""
    head = ['set', 'way', 'AP', 'AP50', 'validation AP', 'minutes'] + (
        [f'until {target:g}'] if target else [])
    lines = ['| ' + ' | '.join(head) + ' |', '|' + '---|' * len(head)]
    for name, ways in results.items():
        complete = {way: runs for way, runs in ways.items() if runs}
        for way, runs in complete.items():
            cells = [name, way, *(mean_and_spread([item[key] for item in runs])
                                  for key in ('ap', 'ap50', 'val_ap')),
                     f'{statistics.mean(item["seconds"] for item in runs) / 60:.1f}']
            lines.append('| ' + ' | '.join(cells + [time_to(runs, target)] * bool(target)) + ' |')
        if 'default' in complete and len(complete) > 1:
            best = max(complete, key=lambda way: statistics.mean(
                item['val_ap'] for item in complete[way]))
            pairs = list(zip(complete[best], complete['default']))
            gains = [one['ap'] - other['ap'] for one, other in pairs]
            lines.append(f'| {name} | **{best}**, best on validation, over the default | '
                         f'{mean_and_spread(gains)} |' + ' |' * (len(head) - 3))
    return '\n'.join(lines)


def main() -> None:
    """Run the benchmark."""
    args = parse_args()
    ways = ways_of(args.ways)
    results: Dict[str, Dict[str, list]] = {}
    # a seed of everything before the next, so that an unfinished run tells something
    for seed in args.seeds:
        for name in args.sets:
            data = folder_of(name, args)
            for way, options in ways.items():
                work = args.work_dir / f'{name}_{way.replace(" ", "_")}_{seed}'
                found = run(data, work.absolute(), [*args.common.split(), *options], seed)
                results.setdefault(name, {}).setdefault(way, []).append(found)
                print(f'seed {seed}, {name}, {way}: AP {found["ap"]:.3f}', flush=True)
        write_text(args.work_dir / 'table.md', table(results, args.target) + '\n')
    print(table(results, args.target))


if __name__ == '__main__':
    run_main(main)
