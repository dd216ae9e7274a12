"""Is a plan's predicted latency the measured one? Random plans, Spearman and error.

The table of latencies is measured as tools/quantize.py does it (profiles of the float and the
full INT8 file, and whole plans); the plans it is judged by are drawn anew and had no part in it.
The table is kept in the work folder: a second run times the plans alone.
"""
import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mmyolonas.quantization.choice.latency import LatencyTable, find_boundaries  # noqa: E402
from mmyolonas.quantization.choice.timing import (  # noqa: E402
    measure_latency,
    random_plans,
    time_plans,
)
from mmyolonas.runtime.machine import cpu_name  # noqa: E402
from mmyolonas.utils.cli import new_parser, run_main  # noqa: E402
from mmyolonas.utils.configs import load_config  # noqa: E402
from mmyolonas.utils.figures import write_figure  # noqa: E402
from mmyolonas.utils.files import write_json  # noqa: E402


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__, '')
    parser.add_argument('--config', default='configs/yolonas/yolonas_s_coco.py')
    parser.add_argument('--checkpoint', help='weights; the time does not depend on them')
    parser.add_argument('--runtime', choices=('onnxruntime', 'openvino'), default='onnxruntime')
    parser.add_argument('--size', type=int, default=640)
    parser.add_argument('--plans', type=int, default=20, help='plans to judge by (default: 20)')
    parser.add_argument('--fitted', type=int, default=50, help='plans of the fit (default: 50)')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=15)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/plan_latency'))
    return parser.parse_args()


def make_variants(args: argparse.Namespace, folder: str):
    """Export and calibrate the model (on one random image: only times matter)."""
    import torch

    from mmyolonas.deploy.pipeline import load_model
    from mmyolonas.export import export_onnx
    from mmyolonas.quantization import calibrate, fuse_model, quantise_model
    from mmyolonas.quantization.choice.variants import Variants
    torch.manual_seed(0)
    fused = fuse_model(load_model(load_config(args.config), args.checkpoint))
    path = os.path.join(folder, 'float.onnx')
    export_onnx(fused, path, (1, 3, args.size, args.size), nms='none', fold_shortcuts=False,
                verify=False)
    table = calibrate(quantise_model(fused), [torch.rand(1, 3, args.size, args.size)],
                      method='max')
    return Variants(path, table, args.runtime, args.threads)


def predict(args: argparse.Namespace, variants) -> LatencyTable:
    """Return the latency table, of an earlier run if there."""
    path = args.out / f'{args.runtime}_table.json'
    if path.is_file():
        table = LatencyTable.load(path)
        table.check(variants.candidates, str(path))
        return table
    table = measure_latency(variants, args.fitted, args.repeats)
    args.out.mkdir(parents=True, exist_ok=True)
    table.save(path)
    return table


def draw(args: argparse.Namespace, figures: dict) -> None:
    """Draw predicted against measured times."""
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    figure, axis = plt.subplots(figsize=(5, 5))
    measured = figures['measured']
    axis.plot(measured, figures['predicted'], 'o')
    axis.axline((min(measured),) * 2, slope=1, color='grey', linestyle='--')
    axis.set_xlabel('measured, ms')
    axis.set_ylabel('predicted, ms')
    axis.set_title(f'{args.runtime}, Spearman {figures["spearman"]:.3f}')
    figure.tight_layout()
    write_figure(args.out / f'{args.runtime}.png', figure, 110)


def main() -> None:
    """Measure and print."""
    from scipy.stats import spearmanr
    args = parse_args()
    with tempfile.TemporaryDirectory() as folder:
        variants = make_variants(args, folder)
        latency = predict(args, variants)
        print('\n'.join(latency.lines()))
        boundaries = find_boundaries(variants)
        # float and full INT8 took part in the fit
        plans = random_plans(variants.candidates, args.plans + 2, seed=1)[2:]
        predicted = [latency.predict(boundaries, plan) for plan in plans]
        measured = time_plans(variants, plans, args.repeats)
    rank = float(spearmanr(predicted, measured)[0])
    errors = np.array(predicted) / measured - 1
    for plan, want, got in zip(plans, predicted, measured):
        print(f'{len(plan):3d} groups in 8 bit: predicted {want:7.1f} ms, measured {got:7.1f} ms')
    print(f'{args.runtime} on {cpu_name()}: {len(plans)} plans that had no part in the fit, '
          f'Spearman {rank:.3f}, mean error {100 * np.abs(errors).mean():.1f} %, mean of the '
          f'errors {100 * errors.mean():+.1f} %')
    figures = dict(predicted=predicted, measured=measured, spearman=rank,
                   error=float(np.abs(errors).mean()), processor=cpu_name())
    write_json(args.out / f'{args.runtime}.json', figures)
    draw(args, figures)


if __name__ == '__main__':
    run_main(main)
