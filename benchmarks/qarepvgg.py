"""What the QARepVGG block is for: the same 8-bit quantisation beside plain RepVGG blocks.

Trains YOLO-NAS-S on the generated shapes of `make quickstart` with either
block, everything else equal, quantises both after training in the same way and
scores the exported files on the held-out images; then, in PyTorch, with ever
fewer bits for the same ranges, where the reserve of each shows. Steps that are
done are not repeated. --narrow takes half the width at 96 px and forty epochs, a long training in
minutes, scored on images that chose nothing. Writes table.md, figures.json and qarepvgg.png to
the work folder.
"""
import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any, Dict, List, Tuple

from mmengine.config import Config

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mmyolonas.utils.cli import new_parser, run_main  # noqa: E402
from mmyolonas.utils.configs import load_config  # noqa: E402
from mmyolonas.utils.figures import write_figure  # noqa: E402
from mmyolonas.utils.files import write_json, write_text  # noqa: E402
from mmyolonas.utils.stages import run_tool  # noqa: E402

CONFIGS = dict(QARepVGG=ROOT / 'configs' / 'yolonas' / 'yolonas_s_sample.py',
               RepVGG=ROOT / 'benchmarks' / 'configs' / 'repvgg_sample.py')
NARROW = dict(QARepVGG=ROOT / 'benchmarks' / 'configs' / 'narrow_sample.py',
              RepVGG=ROOT / 'benchmarks' / 'configs' / 'narrow_repvgg_sample.py')


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__, '')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/qarepvgg'))
    parser.add_argument('--data-dir', type=Path, default=Path('data/sample_shapes'))
    parser.add_argument('--seeds', type=int, nargs='+', default=[0])
    parser.add_argument('--calib-methods', nargs='+', default=['max', 'percentile'])
    parser.add_argument('--bits', type=int, nargs='+', default=[8, 7, 6, 5, 4],
                        help='of weights and activations, with the ranges of the last method')
    parser.add_argument('--epochs', type=int, help='default: 8, 40 with --narrow')
    parser.add_argument('--narrow', action='store_true', help='see above')
    args = parser.parse_args()
    args.epochs = args.epochs or (40 if args.narrow else 8)
    return args


def config_of(args: argparse.Namespace, block: str) -> Path:
    """Return the config of a block."""
    return (NARROW if args.narrow else CONFIGS)[block]


def draw_images(args: argparse.Namespace) -> None:
    """Draw the images of the trainings."""
    from mmyolonas.datasets.samples.sample_data import generate_detection_samples
    if not args.narrow:
        generate_detection_samples(str(args.data_dir), 400, 100)
        return
    cfg = load_config(str(NARROW['QARepVGG']))
    generate_detection_samples(cfg.data_root, 480, 100, 128)
    generate_detection_samples(cfg.test_root, 1, 200, 128, 1)


def options(args: argparse.Namespace, seed: int) -> List[str]:
    """Return ``--cfg-options`` of a model."""
    result = [f'randomness.seed={seed}', f'train_cfg.max_epochs={args.epochs}',
              f'param_scheduler.1.end={args.epochs}', f'param_scheduler.1.T_max={args.epochs}',
              f'train_cfg.val_interval={args.epochs if args.narrow else 4}']
    if args.narrow:
        return result
    for loader, split in (('train', 'train'), ('val', 'val'), ('test', 'val')):
        result.append(f'{loader}_dataloader.dataset.data_root={args.data_dir.absolute()}/')
        if loader != 'train':
            result.append(f'{loader}_evaluator.ann_file='
                          f'{args.data_dir.absolute()}/annotations/instances_{split}.json')
    return result


def train(args: argparse.Namespace, block: str, seed: int) -> Path:
    """Train a model, or go on; return the last checkpoint."""
    folder = args.work_dir / f'{block}_{seed}'
    checkpoint = folder / f'epoch_{args.epochs}.pth'
    if not checkpoint.exists():
        print(f'training {block}, seed {seed}', flush=True)
        run_tool([str(ROOT / 'tools' / 'train.py'), str(config_of(args, block)), '--work-dir',
                  str(folder), '--resume', '--cfg-options', *options(args, seed)],
                 folder / 'train.log', show=r'Epoch\(\w+\).*')
    return checkpoint


def quantise(args: argparse.Namespace, block: str, seed: int, method: str) -> Dict[str, Any]:
    """Quantise a model and score it; return the report."""
    folder = args.work_dir / f'{block}_{seed}' / method
    if not (folder / 'report.json').exists():
        print(f'quantising {block}, seed {seed}, {method}', flush=True)
        run_tool([str(ROOT / 'tools' / 'quantize.py'), str(config_of(args, block)),
                  str(train(args, block, seed)), '--work-dir', str(folder), '--calib-method',
                  method, '--repeats', '3', '--cfg-options', *options(args, seed)],
                 folder / 'quantize.log', show=r'AP.*|calibration.*')
    return json.loads((folder / 'report.json').read_text())


def load_block(args: argparse.Namespace, block: str, seed: int) -> Tuple[Config, Any]:
    """Return config and trained model."""
    from mmyolonas.deploy.pipeline import load_model
    overrides = dict(option.split('=', 1) for option in options(args, seed) if 'data_root' in option
                     or 'ann_file' in option)
    cfg = load_config(str(config_of(args, block)), overrides)
    return cfg, load_model(cfg, str(train(args, block, seed)))


def ranges(args: argparse.Namespace, block: str, seed: int) -> List[float]:
    """Return largest weight over the weights' deviation, for each fused block.

    A convolution whose largest weight is far from the others is what 8 bits
    hold badly.
    """
    import torch

    from mmyolonas.models.layers import QARepVGGBlock
    from mmyolonas.quantization import fuse_model
    model = fuse_model(load_block(args, block, seed)[1])
    with torch.no_grad():
        return [float(module.rbr_reparam.weight.abs().max() / module.rbr_reparam.weight.std())
                for module in model.modules() if isinstance(module, QARepVGGBlock)]


def score_bits(args: argparse.Namespace, block: str, seed: int) -> Dict[str, float]:
    """Return the AP with weights and activations of so many bits, by their number."""
    from mmyolonas.quantization import RangeTable, fuse_model, quantise_model
    from mmyolonas.quantization.choice.scoring import Scorer
    from mmyolonas.quantization.ranges.images import keep_samples, load_samples
    folder = args.work_dir / f'{block}_{seed}'
    file = folder / 'bits.json'
    found = json.loads(file.read_text()) if file.exists() else {}
    if all(str(bits) in found for bits in args.bits):
        return found
    cfg, model = load_block(args, block, seed)
    scorer = Scorer.from_config(cfg, model, keep_samples(load_samples(cfg, model)))
    quantized = quantise_model(fuse_model(model))
    quantized.load(RangeTable.load(folder / args.calib_methods[-1] / 'ranges.json'))
    for bits in args.bits:
        for quantizer in (*quantized.activations.values(), *quantized.weights.values()):
            quantizer.num_bits = bits
        found[str(bits)] = scorer.score(quantized.model, f'AP {block}, {bits} bits').ap
        write_json(file, found)
    return found


def over_seeds(rows: List[Dict[str, Any]]) -> List[str]:
    """Return what each block loses in the mean of its seeds, with the interval of Student's t."""
    import numpy as np
    from scipy.stats import t as student
    lines = []
    for key in dict.fromkeys((row['block'], row['method']) for row in rows):
        lost = [row['lost'] for row in rows if (row['block'], row['method']) == key]
        if len(lost) > 1:
            half = student.ppf(0.975, len(lost) - 1) * np.std(lost, ddof=1) / np.sqrt(len(lost))
            lines.append(f'{key[0]}, {key[1]}: {np.mean(lost):+.2f} points lost in the mean of '
                         f'{len(lost)} seeds [{np.mean(lost) - half:+.2f}, '
                         f'{np.mean(lost) + half:+.2f}]')
    return lines


def plot(rows: List[Dict[str, Any]], stress: Dict[str, List[Dict[str, float]]],
         spreads: Dict[str, List[float]], path: Path) -> None:
    """Draw AP in float and in 8 bit, AP by bits, and the spread of the fused weights."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    figure, (left, middle, right) = plt.subplots(1, 3, figsize=(15, 4))
    kinds = ['float', *dict.fromkeys(row['method'] for row in rows)]
    for offset, block in enumerate(CONFIGS):
        mine = [row for row in rows if row['block'] == block]
        values = [[row['float'] for row in mine]] + [
            [row['int8'] for row in mine if row['method'] == kind] for kind in kinds[1:]]
        places = [index + 0.4 * offset for index in range(len(kinds))]
        left.bar(places, [sum(v) / len(v) for v in values], 0.38, label=block)
        for place, value in zip(places, values):
            left.plot([place] * len(value), value, 'k.', markersize=4)
        floats = {row['seed']: row['float'] for row in mine}.values()
        for value, found in zip(floats, stress[block]):
            bits = sorted(map(int, found))
            middle.plot(bits, [value - found[str(n)] for n in bits], '.-', color=f'C{offset}',
                        label=block)
        right.plot(sorted(spreads[block]), '.-', label=block)
    left.set_xticks([index + 0.2 for index in range(len(kinds))],
                    ['float', *(f'8 bit, {kind}' for kind in kinds[1:])])
    left.set_ylabel('AP on held-out shapes')
    right.set_xlabel('fused blocks, sorted')
    right.set_ylabel('largest weight / standard deviation')
    right.set_yscale('log')
    middle.set_xlabel('bits of weights and activations')
    middle.set_ylabel('AP lost')
    middle.set_yscale('symlog', linthresh=1)
    for axis in (left, middle, right):
        axis.grid(alpha=0.3)
        axis.legend()
    figure.tight_layout()
    write_figure(path, figure, 110)


def main() -> None:
    """Run the experiment."""
    args = parse_args()
    os.environ['PYTHONPATH'] = os.pathsep.join(
        filter(None, [str(ROOT), os.environ.get('PYTHONPATH')]))
    args.work_dir = args.work_dir.absolute()
    draw_images(args)
    rows: List[Dict[str, Any]] = []
    for seed in args.seeds:
        for block in CONFIGS:
            train(args, block, seed)
            for method in args.calib_methods:
                plain, full = quantise(args, block, seed, method)['rows'][:2]
                rows.append(dict(block=block, seed=seed, method=method, float=plain['ap'],
                                 int8=full['ap'], lost=plain['ap'] - full['ap'],
                                 interval=full['interval']))
    stress = {block: [score_bits(args, block, seed) for seed in args.seeds] for block in CONFIGS}
    spreads = {block: ranges(args, block, args.seeds[0]) for block in CONFIGS}
    write_json(args.work_dir / 'figures.json', dict(rows=rows, bits=stress, spreads=spreads))
    lines = ['| block | seed | calibration | AP float | AP 8 bit | lost |', '|' + '---|' * 6]
    lines += [f'| {row["block"]} | {row["seed"]} | {row["method"]} | {row["float"]:.2f} | '
              f'{row["int8"]:.2f} | {row["lost"]:+.2f} [{row["interval"][0]:+.2f}, '
              f'{row["interval"][1]:+.2f}] |' for row in rows]
    lines += ['', *over_seeds(rows)]
    lines += ['', '| AP lost with | ' + ' | '.join(f'{n} bits' for n in args.bits) + ' |',
              '|' + '---|' * (len(args.bits) + 1)]
    for block, found in stress.items():
        for seed, values in zip(args.seeds, found):
            start = next(r['float'] for r in rows if (r['block'], r['seed']) == (block, seed))
            lost = [f'{start - values[str(n)]:+.2f}' for n in args.bits]
            lines.append(f'| {block}, seed {seed} | ' + ' | '.join(lost) + ' |')
    text = '\n'.join(lines) + '\n'
    write_text(args.work_dir / 'table.md', text)
    plot(rows, stress, spreads, args.work_dir / 'qarepvgg.png')
    print(text)


if __name__ == '__main__':
    run_main(main)
