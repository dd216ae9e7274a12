"""Whether pre-training on generated shapes helps on a small data set.

Trains YOLO-NAS-S on drawn images, then fine-tunes it on DATA in three ways with
equal settings otherwise: from scratch, from those weights at the rate for trained
weights, and from those weights at the rate from scratch. Prints AP and AP50 of
each way, mean and spread over the seeds. What is done is not repeated.
"""
import argparse
import json
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import ROOT
from mmyolonas.utils.checkpoints import last_checkpoint
from mmyolonas.utils.cli import new_parser, run_main
from mmyolonas.utils.files import write_json
from mmyolonas.utils.stages import run_tool

_SCRATCH_LR = 8e-4  # of batch 4, as tools/finetune.py chooses it for some hundred images


@dataclass
class Way:
    """One way to start.

    Args:
        name: Its name.
        options: Of ``tools/finetune.py``.
    """
    name: str
    options: List[str]


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__)
    parser.add_argument('data', type=Path, help='a data set that tools/finetune.py reads')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/generated_pretraining'))
    parser.add_argument('--images', type=int, default=2000, help='drawn images (default: 2000)')
    parser.add_argument('--pretrain-epochs', type=int, default=6, help='default: 6')
    parser.add_argument('--epochs', type=int, default=30, help='of the fine-tuning (default: 30)')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], help='default: 0 1 2')
    parser.add_argument('--pretrain-options', nargs='+', default=[], metavar='KEY=VALUE',
                        help='settings of configs/yolonas/yolonas_s_sample.py')
    parser.add_argument('--finetune-options', default='', help='more options of '
                        'tools/finetune.py, in one word')
    parser.add_argument('--workers', type=int, default=1, help='processes that draw (default: 1)')
    parser.add_argument('--json', type=Path, help='file for the scores (default: results.json in '
                        'the work folder)')
    return parser.parse_args()


def pretrain(args: argparse.Namespace) -> Path:
    """Draw images and train on them; return the checkpoint."""
    from mmyolonas.datasets.samples.sample_data import generate_detection_samples
    data, work = args.work_dir / 'shapes', args.work_dir / 'pretraining'
    generate_detection_samples(str(data), args.images, max(4, args.images // 20),
                               workers=args.workers)
    files = {part: data.absolute() / 'annotations' / f'instances_{part}.json'
             for part in ('train', 'val')}
    options = [f'{part}_dataloader.dataset.data_root={data.absolute()}/'
               for part in ('train', 'val', 'test')]
    options += [f'{part}_evaluator.ann_file={files["val"]}' for part in ('val', 'test')]
    # the whole schedule: its length is written in three places
    epochs = args.pretrain_epochs
    options += [f'train_cfg.max_epochs={epochs}', f'param_scheduler.1.end={epochs}',
                f'param_scheduler.1.T_max={epochs}', *args.pretrain_options]
    run_tool([str(ROOT / 'tools' / 'train.py'),
              str(ROOT / 'configs' / 'yolonas' / 'yolonas_s_sample.py'), '--work-dir', str(work),
              '--resume', '--cfg-options', *options], args.work_dir / 'pretraining.log',
             show=r'Epoch\(\w+\).*')
    return last_checkpoint(str(work))


def finetune(args: argparse.Namespace, way: Way, seed: int) -> Dict[str, float]:
    """Fine-tune in one way; return the scores of the best checkpoint."""
    work = args.work_dir / f'{way.name.replace(" ", "_")}_{seed}'
    run_tool([str(ROOT / 'tools' / 'finetune.py'), str(args.data), '--work-dir', str(work),
              '--epochs', str(args.epochs), '--seed', str(seed), *way.options,
              *args.finetune_options.split()],
             args.work_dir / f'{work.name}.log', show=r'Epoch\(\w+\).*')
    *_, report = json.loads((work / 'evaluation' / 'report.json').read_text()).values()
    return dict(ap=report['ap'], ap50=report['ap50'], split=report['split'])


def table(results: Dict[str, List[Dict[str, float]]]) -> str:
    """Return the scores of each way as a Markdown table."""
    lines = ['| start | AP | AP50 |', '|---|---|---|']
    for name, runs in results.items():
        cells = []
        for key in ('ap', 'ap50'):
            values = [run[key] for run in runs]
            spread = statistics.stdev(values) if len(values) > 1 else float('nan')
            cells.append(f'{statistics.mean(values):.3f} +- {spread:.3f} '
                         f'({", ".join(f"{value:.3f}" for value in values)})')
        lines.append(f'| {name} | {" | ".join(cells)} |')
    return '\n'.join(lines)


def main() -> None:
    """Run the benchmark."""
    args = parse_args()
    start = ['--pretrained', str(pretrain(args).absolute())]
    ways = [Way('scratch', []), Way('generated', start),
            Way('generated, rate from scratch', [*start, '--lr', str(_SCRATCH_LR)])]
    results: Dict[str, List[Dict[str, float]]] = {way.name: [] for way in ways}
    for seed in args.seeds:
        for way in ways:
            results[way.name].append(finetune(args, way, seed))
            print(f'seed {seed}, {way.name}: {results[way.name][-1]}', flush=True)
            write_json(args.json or args.work_dir / 'results.json', results)
    print(table(results))


if __name__ == '__main__':
    run_main(main)
