"""Measure the latency of exported files: pre-processing, network, post-processing.

Several files are measured in turn, image by image, so that a disturbance of
the machine meets all of them.
"""
import json
import os
import time
from dataclasses import asdict, dataclass
from typing import Dict, List, Sequence

import numpy as np

from mmyolonas.deploy.tool_support import deploy_errors
from mmyolonas.runtime.numpy_ops import read_image
from mmyolonas.runtime.runtime import Runtime
from mmyolonas.runtime.timing import Latency
from mmyolonas.utils import arguments
from mmyolonas.utils.cli import new_parser, run_main
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import write_text

EXAMPLES = '''examples:
  python tools/profile_deployed.py deployed/end2end.onnx images/ --threads 2
  python tools/profile_deployed.py deployed/end2end.onnx deployed/end2end.xml images/'''
STAGES = ('preprocess', 'network', 'postprocess', 'total')
SUFFIXES = ('.jpg', '.jpeg', '.png', '.bmp', '.webp')


@dataclass
class Profile:
    """Times of one file in milliseconds per image.

    Args:
        path (str): File.
        backend (str): Runtime.
        images (int): Measured images.
        percentiles (dict): 50th, 90th and 99th percentile and mean per stage.
        peak_memory (float): Largest resident memory of the process so far, MiB.
    """
    path: str
    backend: str
    images: int
    percentiles: Dict[str, Dict[str, float]]
    peak_memory: float


def parse_args():
    """Return the command line's options."""
    parser = new_parser(__doc__, EXAMPLES)
    parser.add_argument('inputs', nargs='+', metavar='FILE... IMAGES',
                        help='exported files, then a folder of images or one image')
    parser.add_argument('--backend', nargs='+', help='runtime of each file (default: by suffix)')
    parser.add_argument('--device', default='cpu')
    parser.add_argument('--threads', type=arguments.positive_int, help='threads of a CPU runtime')
    parser.add_argument('--batch-size', type=arguments.positive_int, default=1)
    parser.add_argument('--num', type=arguments.positive_int, default=50,
                        help='measured batches (default: 50)')
    parser.add_argument('--warmup', type=arguments.natural, default=5,
                        help='batches before (default: 5)')
    parser.add_argument('--out', metavar='FILE.json', help='write the figures')
    return parser.parse_args()


def load_images(path: str) -> List[np.ndarray]:
    """Return the image, or the images of a folder, at most 64."""
    if os.path.isdir(path):
        names = sorted(name for name in os.listdir(path) if name.lower().endswith(SUFFIXES))
        paths = [os.path.join(path, name) for name in names[:64]]
    else:
        paths = [path]
    if not paths:
        raise UserError(f'there are no images in {path}.')
    return [read_image(name) for name in paths]


def measure(runtime: Runtime, batch: Sequence[np.ndarray]) -> List[float]:
    """Return the times of the stages and their sum in milliseconds per image."""
    marks = [time.perf_counter()]
    blob, geometries = runtime.preprocess(batch)
    marks.append(time.perf_counter())
    outputs = runtime.infer(blob)
    marks.append(time.perf_counter())
    runtime.postprocess(outputs, geometries)
    marks.append(time.perf_counter())
    times = list(np.diff(marks)) + [marks[-1] - marks[0]]
    return [1e3 * value / len(batch) for value in times]


def peak_memory() -> float:
    """Return the largest resident memory of this process in MiB."""
    try:
        import resource
    except ImportError:  # Windows
        return float('nan')
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def profile(runtimes: Sequence[Runtime], images: Sequence[np.ndarray], num: int,
            warmup: int) -> List[Profile]:
    """Measure runtimes in turn on the same batches."""
    times: List[List[List[float]]] = [[] for _ in runtimes]
    for index in range(num + warmup):
        for runtime, rows in zip(runtimes, times):
            size = runtime.batch_size
            batch = [images[(index * size + i) % len(images)] for i in range(size)]
            row = measure(runtime, batch)
            if index >= warmup:
                rows.append(row)
    results = []
    for runtime, rows in zip(runtimes, times):
        figures = {}
        for stage, times_of_stage in zip(STAGES, zip(*rows)):
            latency = Latency(list(times_of_stage))
            figures[stage] = dict(mean=latency.mean, **{
                f'p{share}': latency.percentile(share) for share in (50, 90, 99)})
        results.append(Profile(runtime.session.path, runtime.session.backend,
                               num * runtime.batch_size, figures, peak_memory()))
    return results


def report(profiles: Sequence[Profile]) -> str:
    """Return a table of the figures."""
    lines = []
    for item in profiles:
        lines.append(f'{item.path} ({item.backend}), {item.images} images, ms per image:')
        lines.append(f'  {"":12}{"p50":>9}{"p90":>9}{"p99":>9}{"mean":>9}')
        for stage, row in item.percentiles.items():
            cells = ''.join(f'{row[key]:9.2f}' for key in ('p50', 'p90', 'p99', 'mean'))
            lines.append(f'  {stage:12}{cells}')
    lines.append(f'peak memory of the process: {profiles[-1].peak_memory:.0f} MiB')
    return '\n'.join(lines)


def main() -> None:
    """Run the tool."""
    args = parse_args()
    if len(args.inputs) < 2:
        raise UserError('give at least one exported file and, last, a folder of images.')
    files, source = args.inputs[:-1], args.inputs[-1]
    backends = args.backend or [None] * len(files)
    if len(backends) != len(files):
        raise UserError(f'--backend takes one name per file: {len(files)}, got {len(backends)}.')
    if args.num < 1 or args.batch_size < 1:
        raise UserError('--num and --batch-size must be at least 1.')
    with deploy_errors():
        images = load_images(source)
        runtimes = [Runtime(path, backend, args.device, args.threads, args.batch_size)
                    for path, backend in zip(files, backends)]
        profiles = profile(runtimes, images, args.num, args.warmup)
    print(report(profiles))
    if args.out:
        write_text(args.out, json.dumps([asdict(item) for item in profiles], indent=2))


if __name__ == '__main__':
    run_main(main)
