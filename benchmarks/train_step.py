"""Time one training step of YOLO-NAS against other implementations of it.

Measured are a whole step (forward, loss, backward, optimiser) and, apart from it, assignment and
loss with the backward pass to the head's outputs, plus peak memory. Each implementation runs in
its own interpreter and the workers are asked in turn, so that the ratios survive a busy machine.

    python -m venv .venv-peer && .venv-peer/bin/pip install modern-yolonas==0.5.0
    python benchmarks/train_step.py --peer-python .venv-peer/bin/python

benchmarks/README.md has results, and how to install SuperGradients for ``--sg-python``.
"""
import argparse
import statistics
import sys
from pathlib import Path
from typing import Callable, Dict, List

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import (
    PeakMemory,
    Worker,
    compare,
    interleave,
    serve,
    table,
    timed,
    write_json,
)

OURS = 'mmyolonas'
PARTS = {
    'step': 'forward + loss + backward + optimiser step',
    'loss': 'assignment + loss on given boxes and scores, forward + backward',
    'decode_loss': 'decoding + assignment + loss on given logits, forward + backward',
}


def build_handlers(name: str, problem: dict, threads: int) -> Dict[str, Callable]:
    """Return what a worker with this implementation can do."""
    import torch

    from benchmarks.detectors import IMPLEMENTATIONS, Problem
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    implementation = IMPLEMENTATIONS[name](Problem(**problem))
    functions = {}

    def setup(part: str, warmup: int) -> dict:
        """Prepare a part; returns the loss and the memory that it takes at most."""
        functions.clear()
        functions[part] = getattr(implementation, part)()
        first = functions[part]()
        for _ in range(warmup):
            functions[part]()
        memory = PeakMemory()
        functions[part]()
        return dict(loss=first, torch=torch.__version__, peak=memory.read(), exact=memory.exact)

    def time(part: str, repeats: int, clock: str) -> List[float]:
        return timed(functions[part], repeats, clock)

    return dict(setup=setup, time=time)


def parse_args() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--peer-python', help='interpreter of the modern-yolonas environment')
    parser.add_argument('--sg-python', help='interpreter of the SuperGradients environment')
    parser.add_argument('--parts', nargs='+', choices=PARTS, default=list(PARTS))
    parser.add_argument('--arch', choices='sml', default='s')
    parser.add_argument('--size', type=int, default=320, help='side of the images')
    parser.add_argument('--batch', type=int, default=8)
    parser.add_argument('--boxes', type=int, default=12, help='boxes an image')
    parser.add_argument('--classes', type=int, default=80)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=15)
    parser.add_argument('--loss-repeats', type=int, default=5,
                        help='calls a round of the parts without a network; their median counts')
    parser.add_argument('--warmup', type=int, default=2)
    parser.add_argument('--clock', choices=['wall', 'cpu'], default='wall',
                        help='cpu: processor time, for a machine that does other work too')
    parser.add_argument('--variants', nargs='*', default=[], choices=['channels_last', 'compile'],
                        help='run this package once more with each of these')
    parser.add_argument('--peer-variants', nargs='*', default=[],
                        choices=['channels_last', 'compile'], help='the same for the peers')
    parser.add_argument('--json', metavar='FILE', help='also write the results here')
    parser.add_argument('--worker', nargs=2, metavar=('NAME', 'PROBLEM'), help=argparse.SUPPRESS)
    return parser.parse_args()


def start_workers(args: argparse.Namespace) -> List[Worker]:
    """Start this package's and the peers' workers, with their variants."""
    pythons = {OURS: sys.executable}
    if args.peer_python:
        pythons['modern-yolonas'] = args.peer_python
    if args.sg_python:
        pythons['super-gradients'] = args.sg_python
    workers = []
    for name, python in pythons.items():
        variants = args.variants if name == OURS else args.peer_variants
        for variant in ['', *variants]:
            problem = {key: getattr(args, key)
                       for key in ('arch', 'size', 'batch', 'boxes', 'classes')}
            if variant == 'channels_last':
                problem['memory_format'] = 'channels_last'
            elif variant == 'compile':
                problem['compile'] = True
            command = [__file__, '--worker', name, repr(problem), '--threads', str(args.threads)]
            label = f'{name}, {variant}' if variant else name
            workers.append(Worker(label, python, command, args.threads))
    return workers


def run_part(part: str, workers: List[Worker], args: argparse.Namespace) -> dict:
    """Measure a part with all workers, print its table and return the results."""
    info: Dict[str, dict] = {
        worker.name: worker.call('setup', part=part, warmup=args.warmup) for worker in workers}
    repeats = 1 if part == 'step' else args.loss_repeats
    seconds = interleave(workers, 'time', args.rounds, label=part, part=part, repeats=repeats,
                         clock=args.clock)
    rows = compare(seconds, OURS)
    print(f'\n{PARTS[part]}\n')
    print(table(rows, 'implementation', extra={
        'peak MiB': {name: f'{values["peak"]:.0f}' for name, values in info.items()},
        'torch': {name: values['torch'] for name, values in info.items()},
        'loss': {name: f'{values["loss"]:.4f}' for name, values in info.items()},
    }))
    peers = [row for row in rows if not row.name.startswith(OURS)]
    if peers:
        fastest = min(peers, key=lambda row: row.median)
        ours = statistics.median(seconds[OURS])
        print(f'\n{OURS} takes {fastest.ratio:.2f} of the time of the faster peer '
              f'({fastest.name}): {ours * 1e3:.1f} ms against {fastest.median * 1e3:.1f} ms.')
    return dict(rows=rows, info=info, seconds=seconds)


def main() -> None:
    """Run the benchmark."""
    args = parse_args()
    if args.worker:
        import ast
        name, problem = args.worker
        serve(lambda: build_handlers(name, ast.literal_eval(problem), args.threads))
        return
    workers = start_workers(args)
    try:
        results = {part: run_part(part, workers, args) for part in args.parts}
    finally:
        for worker in workers:
            worker.close()
    if args.json:
        write_json(args.json, arguments=vars(args), results=results)


if __name__ == '__main__':
    main()
