"""Is a plan's predicted latency the measured one? Random plans, Spearman and error.

The table of latencies is measured as tools/quantize.py does it (float file, full INT8 file and
a few probes); the plans are drawn anew and had no part in it.
"""
import argparse
import os
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mmyolonas.utils.cli import new_parser, run_main  # noqa: E402
from mmyolonas.utils.configs import load_config  # noqa: E402
from mmyolonas.utils.files import write_figure, write_json  # noqa: E402


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__, '')
    parser.add_argument('--config', default='configs/yolonas/yolonas_s_coco.py')
    parser.add_argument('--checkpoint', help='weights; the time does not depend on them')
    parser.add_argument('--runtime', choices=('onnxruntime', 'openvino'), default='onnxruntime')
    parser.add_argument('--size', type=int, default=640)
    parser.add_argument('--plans', type=int, default=20)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=10)
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


def random_plans(names: list, count: int) -> list:
    """Return plans of all kinds: few and many groups in 8 bit, in runs and scattered."""
    rng = np.random.default_rng(1)
    plans = []
    for index in range(count):
        share = (index // 2 + 1) / (count / 2 + 1)
        if index % 2:
            plans.append([name for name in names if rng.random() < share])
        else:
            start = rng.integers(0, len(names))
            length = round(share * len(names))
            plans.append([names[(start + step) % len(names)] for step in range(length)])
    return plans


def main() -> None:
    """Measure and print."""
    from scipy.stats import spearmanr

    from mmyolonas.quantization.choice.latency import find_boundaries, measure_latency
    from mmyolonas.runtime.timing import measure
    args = parse_args()
    with tempfile.TemporaryDirectory() as folder:
        variants = make_variants(args, folder)
        latency = measure_latency(variants, repeats=args.repeats)
        boundaries = find_boundaries(variants)
        plans = random_plans(variants.candidates, args.plans)
        predicted = [latency.predict(boundaries, plan) for plan in plans]
        image = np.random.default_rng(0).random(variants.input_shape(), np.float32)
        runs = {str(index): variants.open(plan) for index, plan in enumerate(plans)}
        times = measure(runs, image, repeats=args.repeats)
    measured = [times[str(index)].median for index in range(len(plans))]
    rank = float(spearmanr(predicted, measured)[0])
    error = float(np.mean(np.abs(np.array(predicted) / measured - 1)))
    for plan, want, got in zip(plans, predicted, measured):
        print(f'{len(plan):3d} groups in 8 bit: predicted {want:7.1f} ms, measured {got:7.1f} ms')
    print(f'{args.runtime}: Spearman {rank:.3f}, mean error {100 * error:.1f} %')
    args.out.mkdir(parents=True, exist_ok=True)
    write_json(args.out / f'{args.runtime}.json', dict(
        predicted=predicted, measured=measured, spearman=rank, error=error))
    import matplotlib
    matplotlib.use('Agg')
    from matplotlib import pyplot as plt
    figure, axis = plt.subplots(figsize=(5, 5))
    axis.plot(measured, predicted, 'o')
    axis.axline((min(measured),) * 2, slope=1, color='grey', linestyle='--')
    axis.set_xlabel('measured, ms')
    axis.set_ylabel('predicted, ms')
    axis.set_title(f'{args.runtime}, Spearman {rank:.3f}')
    figure.tight_layout()
    write_figure(args.out / f'{args.runtime}.png', figure, 110)


if __name__ == '__main__':
    run_main(main)
