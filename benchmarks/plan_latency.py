"""Is a plan's predicted latency the measured one? Random plans, Spearman and error.

The table of latencies is fitted as tools/quantize.py does it (to profiles of the float and the
full INT8 file, and whole plans); the plans it is judged by are drawn anew, timed in the same
turns, and had no part in it. Every time is kept in the work folder: a second run only fits.
With --files-only the files of the plans are written and nothing is timed, so that the machine
need be quiet for the timing alone.
"""
import argparse
import hashlib
import sys
from pathlib import Path
from typing import Any, Dict, Iterable, List

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mmyolonas.quantization.choice.attribution import profile  # noqa: E402
from mmyolonas.quantization.choice.latency import find_boundaries  # noqa: E402
from mmyolonas.quantization.choice.timing import (  # noqa: E402
    fit_table,
    random_plans,
    time_plans,
)
from mmyolonas.quantization.choice.variants import Variants  # noqa: E402
from mmyolonas.runtime.base import Session  # noqa: E402
from mmyolonas.runtime.factory import open_session  # noqa: E402
from mmyolonas.runtime.machine import cpu_name  # noqa: E402
from mmyolonas.utils.cli import new_parser, run_main  # noqa: E402
from mmyolonas.utils.configs import load_config  # noqa: E402
from mmyolonas.utils.figures import write_figure  # noqa: E402
from mmyolonas.utils.files import read_json, write_json, write_onnx  # noqa: E402


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
    parser.add_argument('--files-only', action='store_true', help='write the files, time nothing')
    parser.add_argument('--out', type=Path, default=Path('work_dirs/plan_latency'))
    return parser.parse_args()


class KeptVariants(Variants):
    """Variants whose files stay in a folder."""

    folder: Path

    def file(self, names: Iterable[str]) -> Path:
        """Return the file with these groups in 8 bit, written if it is not there."""
        names = list(names)
        key = hashlib.sha256('\n'.join(names).encode()).hexdigest()[:16]
        path = self.folder / f'{self.runtime}_{key}.onnx'
        if not path.is_file():
            write_onnx(path, self.make(names))
        return path

    def open(self, names: Iterable[str]) -> Session:
        """Return the loaded file with these groups in 8 bit."""
        return open_session(str(self.file(names)), self.runtime, num_threads=self.num_threads)


def make_variants(args: argparse.Namespace) -> KeptVariants:
    """Export and calibrate the model (on one random image: only times matter)."""
    import torch

    from mmyolonas.deploy.pipeline import load_model
    from mmyolonas.quantization import RangeTable, calibrate, fuse_model, quantise_model
    from mmyolonas.quantization.deploying import export_float
    folder = args.out / 'files'
    folder.mkdir(parents=True, exist_ok=True)
    path, ranges = folder / 'float.onnx', folder / 'ranges.json'
    if not ranges.is_file():
        torch.manual_seed(0)
        fused = fuse_model(load_model(load_config(args.config), args.checkpoint))
        export_float(fused, path, (1, 3, args.size, args.size), verify=False)
        calibrate(quantise_model(fused), [torch.rand(1, 3, args.size, args.size)],
                  method='max').save(ranges)
    variants = KeptVariants(str(path), RangeTable.load(ranges), args.runtime, args.threads)
    variants.folder = folder
    return variants


def find_times(args: argparse.Namespace, variants: KeptVariants,
               plans: List[List[str]]) -> Dict[str, Any]:
    """Return profiles and times of the plans, of an earlier run if there."""
    path = args.out / f'{args.runtime}_times.json'
    if path.is_file():
        return read_json(path, 'times of this benchmark')
    for plan in plans:
        variants.file(plan)
    if args.files_only:
        return {}
    profiles = [profile(variants, names, args.repeats) for names in ([], variants.candidates)]
    # shuffled: plans of the fit and plans to judge by in the same turns
    order = np.random.default_rng(2).permutation(len(plans))
    times = np.zeros(len(plans))
    times[order] = time_plans(variants, [plans[place] for place in order], args.repeats)
    found = dict(profiles=profiles, times=times.tolist(), processor=cpu_name(),
                 threads=args.threads, size=args.size, repeats=args.repeats)
    write_json(path, found)
    return found


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
    variants = make_variants(args)
    boundaries = find_boundaries(variants)
    fitted = random_plans(variants.candidates, args.fitted)
    # float and full INT8 took part in the fit
    plans = random_plans(variants.candidates, args.plans + 2, seed=1)[2:]
    found = find_times(args, variants, fitted + plans)
    if not found:
        print(f'the files are in {variants.folder}')
        return
    times, measured = found['times'][:len(fitted)], found['times'][len(fitted):]
    latency = fit_table(variants.candidates, boundaries, tuple(found['profiles']), fitted, times,
                        args.runtime)
    latency.save(args.out / f'{args.runtime}_table.json')
    print('\n'.join(latency.lines()))
    predicted = [latency.predict(boundaries, plan) for plan in plans]
    rank = float(spearmanr(predicted, measured)[0])
    errors = np.array(predicted) / measured - 1
    for plan, want, got in zip(plans, predicted, measured):
        print(f'{len(plan):3d} groups in 8 bit: predicted {want:7.1f} ms, measured {got:7.1f} ms')
    print(f'{args.runtime} on {found["processor"]}: {len(plans)} plans that had no part in the '
          f'fit, Spearman {rank:.3f}, mean error {100 * np.abs(errors).mean():.1f} %, mean of the '
          f'errors {100 * errors.mean():+.1f} %')
    figures = dict(predicted=predicted, measured=measured, spearman=rank,
                   error=float(np.abs(errors).mean()), processor=found['processor'])
    write_json(args.out / f'{args.runtime}.json', figures)
    draw(args, figures)


if __name__ == '__main__':
    run_main(main)
