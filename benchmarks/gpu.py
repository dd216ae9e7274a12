"""Measure on a GPU what a CPU cannot: one program, resumable over short leases.

Stages, ordered by worth:
  sanity    outputs, losses, gradients and fused forms of all seven models against the CPU and
            the reference numbers, in fp32, fp16 and bf16; AMP, distillation, EMA, resuming
  speed     training steps in turn with modern-yolonas, SuperGradients and RTMDet-s; share of
            data loading; the slowest parts
  accuracy  S and M on real data to convergence, distillation, pseudo-labels, pre-training, QAT
  latency   PyTorch, torch.compile and ONNX Runtime; batch 1 and 16; power and clocks
  tensorrt  engines in fp16 and int8, suppression, layer times; TensorRT or TensorRT-RTX
  search    operator tables on the GPU, training of a supernet

A stage is a list of items, each done or not done as a whole; the result of an item is written
as it ends, to OUT/gpu-<stage>.json. An item that needs more time than is left is not begun, one
that outlasts its time or crashes costs itself alone. `--resume` does what is open: OUT is all
that has to be kept between two machines (eight small files at most). Checkpoints lie in SCRATCH
and are made again where it is gone.

A machine without a network needs three things: this checkout, the wheels that
benchmarks/gpu_wheels.py gathers, and the data sets bccd and deeppcb (21 MiB), copied to a folder
such as data/ within the checkout, which git ignores, or named by --data.

  python benchmarks/gpu_wheels.py gather wheels                      # with a network
  python benchmarks/gpu_wheels.py install wheels --target /tmp/site  # on the machine
  PYTHONPATH=/tmp/site python benchmarks/gpu.py --minutes 9 --out results --resume
  python benchmarks/gpu.py --minutes 9 --out results --resume --stages accuracy
  python benchmarks/gpu.py --minutes 9 --out results --resume --items parts/s step/s-b32-fp16
  python benchmarks/gpu.py --out results --publish benchmarks/README.md
  python benchmarks/gpu.py --rehearse --minutes 20 --out rehearsal   # every stage, on a CPU
"""
import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

_BEGUN = time.monotonic()  # what is imported below takes seconds of --minutes
ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
# run as a script, this folder would come first and offer gpu.py in place of the package
sys.path[:] = [p for p in sys.path if Path(p or '.').resolve() != ROOT / 'benchmarks']

from benchmarks.gpu.items import Settings, thread_count  # noqa: E402
from benchmarks.gpu.stages import STAGES  # noqa: E402
from mmyolonas.utils.cli import new_parser, run_main  # noqa: E402
from mmyolonas.utils.errors import UserError  # noqa: E402


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__)
    parser.add_argument('--minutes', type=float, default=9, help='time of this run (default: 9)')
    parser.add_argument('--out', type=Path, help='folder of the results')
    parser.add_argument('--stages', nargs='+', choices=STAGES, default=list(STAGES),
                        metavar='STAGE', help=f'of {", ".join(STAGES)} (default: all)')
    parser.add_argument('--items', nargs='+', default=[], metavar='ITEM',
                        help='nothing but these items of the stages')
    parser.add_argument('--limit', nargs='+', default=[], metavar='STAGE=MINUTES',
                        help='time of a stage in this run (default: its share)')
    parser.add_argument('--resume', action='store_true', help='go on with the results in OUT')
    parser.add_argument('--rehearse', action='store_true', help='every stage at a tiny size')
    parser.add_argument('--quick', action='store_true', help='with --rehearse: no whole trainings')
    parser.add_argument('--device', help='default: cuda; cpu with --rehearse')
    parser.add_argument('--data', type=Path, help='folder of bccd and deeppcb (default: '
                        'MMYOLONAS_DATA, else data)')
    parser.add_argument('--scratch', type=Path, help='folder for checkpoints and drawn images '
                        '(default: mmyolonas_gpu in the folder for temporary files)')
    parser.add_argument('--workers', type=int, help='data-loading processes (default: one less '
                        'than there are processors)')
    parser.add_argument('--peer-python', help='interpreter with modern-yolonas, if not this one')
    parser.add_argument('--sg-python', help='interpreter with SuperGradients')
    parser.add_argument('--report', action='store_true', help='print what OUT holds, run nothing')
    parser.add_argument('--publish', type=Path, metavar='PAGE', help='put the figures of OUT into '
                        'a page such as benchmarks/README.md, the result files beside it')
    parser.add_argument('--worker', metavar='SETTINGS', help=argparse.SUPPRESS)
    return parser.parse_args()


def read_limits(texts: list) -> dict:
    """Return minutes by stage.

    Raises:
        UserError: Something else than STAGE=MINUTES.
    """
    limits = {}
    for text in texts:
        name, _, minutes = text.partition('=')
        try:
            limits[name] = float(minutes)
        except ValueError:
            limits[name] = -1.
        if name not in STAGES or not limits[name] > 0:
            raise UserError(f'--limit takes STAGE=MINUTES, such as accuracy=6, got {text!r}; '
                            f'stages are {", ".join(STAGES)}.')
    return limits


def make_settings(args: argparse.Namespace) -> Settings:
    """Return what every item is given.

    Raises:
        UserError: There is no such device.
    """
    import torch
    device = args.device or ('cpu' if args.rehearse else 'cuda')
    if device.startswith('cuda') and not torch.cuda.is_available():
        raise UserError('there is no GPU that torch can use; --rehearse goes through every stage '
                        'on the CPU.')
    data = args.data or Path(os.environ.get('MMYOLONAS_DATA', ROOT / 'data'))
    name = 'mmyolonas_gpu_rehearsal' if args.rehearse else 'mmyolonas_gpu'
    scratch = args.scratch or Path(tempfile.gettempdir()) / name
    workers = max(1, thread_count() - 1) if args.workers is None else args.workers
    return Settings(device, args.rehearse, str(data.absolute()), str(scratch.absolute()), workers,
                    args.peer_python, args.sg_python, args.quick)


def check(args: argparse.Namespace) -> None:
    """Refuse what cannot work, before any work.

    Raises:
        UserError: Some option is wrong.
    """
    if args.out is None:
        raise UserError('give --out, a folder for the results.')
    if not args.minutes > 0:
        raise UserError(f'--minutes must be above 0, got {args.minutes:g}.')
    if args.quick and not args.rehearse:
        raise UserError('--quick shortens a rehearsal; give --rehearse as well.')
    reads = args.report or args.publish
    if reads and not args.out.is_dir():
        raise UserError(f'{args.out} is no folder of results.')
    if args.publish and not args.publish.is_file():
        raise UserError(f'{args.publish} is no page; give benchmarks/README.md.')
    if not (args.resume or reads) and list(args.out.glob('gpu-*.json')):
        raise UserError(f'{args.out} has results; --resume goes on with them, or give another '
                        '--out.')


def main() -> None:
    """Run what is open, and write the report."""
    args = parse_args()
    if args.worker:
        from benchmarks.gpu.worker import main as work
        work(json.loads(args.worker))
        return
    from benchmarks.gpu.report import write_report
    check(args)
    limits = read_limits(args.limit)
    if args.publish:
        from benchmarks.gpu.pages import publish
        print('\n'.join(f'written: {path}' for path in publish(args.out, args.publish)))
        return
    if not args.report:
        from benchmarks.gpu.engine import Clock, Engine
        settings = make_settings(args)
        stages = [stage for name, stage in STAGES.items() if name in args.stages]
        Engine(settings, args.out, args.minutes, limits, only=args.items,
               clock=Clock(60 * args.minutes, begun=_BEGUN)).run(stages)
    print(write_report(args.out))


if __name__ == '__main__':
    run_main(main)
