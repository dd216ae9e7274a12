"""What finer steps, equalisation and bias correction change, each alone and together.

Quantises a trained model in PyTorch, at 8 bits and fewer, and prints the noise in the outputs
(mean divergence from float per image, see mmyolonas.quantization.choice.noise) and the AP lost,
with their intervals over images. Steps that are done are not repeated.
"""
import argparse
import copy
import sys
from pathlib import Path
from typing import Any, Dict

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mmyolonas.runtime.machine import cpu_name  # noqa: E402
from mmyolonas.utils.cli import add_config_options, new_parser, run_main  # noqa: E402
from mmyolonas.utils.configs import load_config  # noqa: E402
from mmyolonas.utils.files import read_json, write_json, write_text  # noqa: E402


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__, '')
    add_config_options(parser)
    parser.add_argument('checkpoint')
    parser.add_argument('--bits', type=int, nargs='+', default=[8, 6, 4])
    parser.add_argument('--ranges', nargs='+', choices=('equal', 'full'),
                        default=['equal', 'full'], help='steps of tensors that cannot be negative')
    parser.add_argument('--calib-images', type=int, default=32)
    parser.add_argument('--images', type=int, default=100, help='test images (default: 100)')
    parser.add_argument('--noise-images', type=int, default=16)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/corrections'))
    return parser.parse_args()


def quantised_forms(model: Any, images: list) -> Dict[str, Any]:
    """Return the calibrated model with and without equalisation."""
    from mmyolonas.quantization import calibrate, fuse_model, quantise_model
    from mmyolonas.quantization.ranges.correction import equalise
    found = {}
    for name in ('none', 'equalisation'):
        fused = fuse_model(model)
        if name == 'equalisation':
            print(f'{equalise(fused, images)} tensors equalised', flush=True)
        quantised = quantise_model(copy.deepcopy(fused))
        found[name] = quantised, calibrate(quantised, images)
    return found


def measure(quantised: Any, table: Any, bits: int, span: str, bias: bool, images: list,
            inputs: list, scorer: Any, plain: Any) -> Dict[str, Any]:
    """Return noise and AP lost of one way."""
    from mmyolonas.quantization.choice.noise import NoiseAnalysis
    from mmyolonas.quantization.ranges.correction import bias_corrections
    quantised.set_span(span == 'full', table.nonnegative)
    for quantizer in (*quantised.activations.values(), *quantised.weights.values()):
        quantizer.num_bits = bits
    table = copy.deepcopy(table)
    table.corrections = {}
    quantised.load(table)
    if bias:
        table.corrections = bias_corrections(quantised, images)
        quantised.load(table)
    noise = NoiseAnalysis(quantised, inputs).of(quantised.selection)
    score = scorer.score(quantised.model, f'AP, {bits} bits, {span}')
    return dict(noise=float(np.mean(noise)),
                noise_error=float(np.std(noise, ddof=1) / np.sqrt(len(noise))),
                lost=plain.ap - score.ap, interval=list(score.interval(plain, 100)))


def main() -> None:
    """Measure and print."""
    from mmyolonas.deploy.pipeline import load_model
    from mmyolonas.quantization.choice.scoring import Scorer
    from mmyolonas.quantization.ranges.images import keep_samples, load_samples
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    model = load_model(cfg, args.checkpoint)
    images = [sample.inputs for sample in load_samples(cfg, model, 'train', args.calib_images)]
    scorer = Scorer.from_config(cfg, model, keep_samples(
        load_samples(cfg, model, 'test', args.images), args.images))
    inputs = [sample.inputs.numpy() for sample in scorer.samples[:args.noise_images]]
    forms, plain = quantised_forms(model, images), scorer.score()
    path = args.out / 'corrections.json'
    rows = read_json(path, 'figures of this benchmark')['rows'] if path.is_file() else {}
    for bits in args.bits:
        for span in args.ranges:
            for form, (quantised, table) in forms.items():
                for bias in (False, True):
                    name = f'{bits} | {span} | {form} | {"yes" if bias else "no"}'
                    if name not in rows:
                        rows[name] = measure(quantised, table, bits, span, bias, images, inputs,
                                             scorer, plain)
                        args.out.mkdir(parents=True, exist_ok=True)
                        write_json(path, dict(rows=rows, float_ap=plain.ap, images=plain.images,
                                              processor=cpu_name()))
    lines = ['| bits | span | channels | bias corrected | noise | AP lost |', '|' + '---|' * 6]
    lines += [f'| {name} | {row["noise"]:.3g} ± {row["noise_error"]:.1g} | {row["lost"]:+.2f} '
              f'[{row["interval"][0]:+.2f}, {row["interval"][1]:+.2f}] |'
              for name, row in rows.items()]
    write_text(args.out / 'corrections.md', '\n'.join(lines) + '\n')
    print('\n'.join(lines))
    print(f'float AP {plain.ap:.2f} on {plain.images} images; {cpu_name()}')


if __name__ == '__main__':
    run_main(main)
