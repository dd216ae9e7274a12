"""Time YOLO-NAS-Pose-N against mmpose's RTMO-s and YOLOX-Pose-s.

Measured are a whole training step (forward, loss, backward, optimiser), assignment and loss with
the backward pass to the head's outputs, post-processing of one image, and peak memory. Each model
runs in its own interpreter and the workers are asked in turn, so that the ratios survive a busy
machine. Weights are random; mmpose's models are those of its own configuration files.

    python benchmarks/pose_train_step.py
"""
import argparse
import sys
from pathlib import Path
from typing import Callable, Dict, List

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import (  # noqa: E402
    PeakMemory,
    Worker,
    compare,
    interleave,
    serve,
    table,
    timed,
    write_json,
)

OURS = 'mmyolonas N'
NAMES = (OURS, 'RTMO-s', 'YOLOX-Pose-s')
PARTS = {
    'step': 'forward + loss + backward + optimiser step',
    'loss': 'assignment + loss on given outputs of the network, forward + backward',
    'post': 'post-processing of the best candidates of one image; mmpose by nms_torch',
}
# at most this share of that model's time
TARGETS = {'loss': ('RTMO-s', 0.6), 'post': ('RTMO-s', 0.3)}


def build_handlers(name: str, problem: dict, threads: int) -> Dict[str, Callable]:
    """Return what a worker with this model can do."""
    import torch

    from benchmarks.pose_models import IMPLEMENTATIONS, Problem
    torch.set_num_threads(threads)
    implementation = IMPLEMENTATIONS[name](Problem(**problem))
    functions = {}

    def setup(part: str, warmup: int) -> dict:
        """Prepare a part; returns its result and the memory that it takes at most."""
        functions.clear()
        functions[part] = getattr(implementation, part)()
        first = functions[part]()
        for _ in range(warmup):
            functions[part]()
        memory = PeakMemory()
        functions[part]()
        return dict(result=first, peak=memory.read())

    def time(part: str, repeats: int) -> List[float]:
        return timed(functions[part], repeats)

    return dict(setup=setup, time=time)


def parse_args() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=list(PARTS))
    parser.add_argument('--size', type=int, default=320, help='side of the images')
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--persons', type=int, default=4, help='persons an image')
    parser.add_argument('--candidates', type=int, default=300)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--repeats', type=int, default=5,
                        help='calls a round of the parts without a network; their median counts')
    parser.add_argument('--warmup', type=int, default=2)
    parser.add_argument('--json', metavar='FILE', help='also write the results here')
    parser.add_argument('--worker', nargs=2, metavar=('NAME', 'PROBLEM'), help=argparse.SUPPRESS)
    return parser.parse_args()


def run_part(part: str, workers: List[Worker], args: argparse.Namespace) -> dict:
    """Measure a part with all workers, print its table and return the results."""
    if part == 'post':
        workers = workers[:2]  # mmpose's heads share their post-processing
    info = {worker.name: worker.call('setup', part=part, warmup=args.warmup)
            for worker in workers}
    repeats = 1 if part == 'step' else args.repeats
    seconds = interleave(workers, 'time', args.rounds, label=part, part=part, repeats=repeats)
    rows = compare(seconds, OURS)
    print(f'\n{PARTS[part]}\n')
    print(table(rows, 'model', extra={
        'peak MiB': {name: f'{values["peak"]:.0f}' for name, values in info.items()},
        'poses' if part == 'post' else 'loss': {
            name: f'{values["result"]:.4g}' for name, values in info.items()},
    }))
    if part in TARGETS:
        name, share = TARGETS[part]
        ratio = next(row.ratio for row in rows if row.name == name)
        verdict = 'met' if ratio <= share else 'missed'
        print(f'\nThe aim of {share} of {name} is {verdict}: {ratio:.2f}.')
    return dict(rows=rows, info=info, seconds=seconds)


def main() -> None:
    """Run the benchmark."""
    args = parse_args()
    if args.worker:
        import ast
        name, problem = args.worker
        serve(lambda: build_handlers(name, ast.literal_eval(problem), args.threads))
        return
    problem = {key: getattr(args, key) for key in ('size', 'batch', 'persons', 'candidates')}
    workers = [
        Worker(name, sys.executable,
               [__file__, '--worker', name, repr(problem), '--threads', str(args.threads)],
               args.threads) for name in NAMES]
    try:
        results = {part: run_part(part, workers, args) for part in args.parts}
    finally:
        for worker in workers:
            worker.close()
    if args.json:
        write_json(args.json, arguments=vars(args), results=results)


if __name__ == '__main__':
    main()
