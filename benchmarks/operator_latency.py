"""Are predicted latencies of architectures the measured ones? Spearman, Kendall, mean error.

A table of operators is measured on random architectures and the published ones; other random
architectures, which had no part in it, are then timed as a whole, in turn, and predicted. For
comparison: time proportional to the multiplications of the same networks. The median
run counts, as users see it; of several passes it is the mean of each one's.

Stopped and started again with the same options, it goes on where it was.
"""
import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Dict, List, Tuple

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mmyolonas.utils.cli import new_parser, run_main  # noqa: E402
from mmyolonas.utils.figures import write_figure  # noqa: E402
from mmyolonas.utils.files import atomic_path, write_json  # noqa: E402
from mmyolonas.utils.journal import Journal  # noqa: E402
from mmyolonas.utils.progress import track  # noqa: E402

CHUNK = 8  # networks whose files are open at a time


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__, '')
    parser.add_argument('--target', choices=('onnxruntime', 'openvino', 'tensorrt', 'tensorrt_rtx'),
                        default='onnxruntime')
    parser.add_argument('--precisions', nargs='+', help='default: float and int8')
    parser.add_argument('--task', choices=('detection', 'pose'), default='detection')
    parser.add_argument('--size', type=int, default=160, help='side of the network input')
    parser.add_argument('--threads', type=int, default=1)
    parser.add_argument('--fit', type=int, default=40, help='random architectures in the table')
    parser.add_argument('--test', type=int, default=40, help='others, to be predicted')
    parser.add_argument('--repeats', type=int, default=20)
    parser.add_argument('--passes', type=int, default=1,
                        help='how often the others are timed, far apart, on a busy machine')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--out', type=Path, default=Path('work_dirs/operator_latency'))
    return parser.parse_args()


def architectures(args: argparse.Namespace) -> Tuple[Dict[str, dict], Dict[str, dict]]:
    """Return the architectures of the table, and the others, by name."""
    from mmyolonas.search.space.space import Space
    from mmyolonas.search.space.space_table import PUBLISHED
    space = Space(args.task, [args.size])
    rng = np.random.default_rng(args.seed)
    fitted = {name: space.decode(space.published(name)) for name in PUBLISHED[args.task]}
    fitted.update({f'fit{index}': space.sample(rng) for index in range(args.fit)})
    return fitted, {f'test{index}': space.sample(rng) for index in range(args.test)}


def exported(args: argparse.Namespace, name: str, architecture: dict):
    """Return the float file of an architecture, from the folder if it was exported before.

    Files are kept without weights, which are drawn anew: the time does not depend on them.
    """
    import onnx
    from onnx import numpy_helper

    from mmyolonas.search.latency.operator_timing import export_network
    from mmyolonas.search.space.architecture import build
    path = args.out / 'graphs' / f'{args.task}-{args.size}-{args.seed}-{name}.onnx'
    if not path.exists():
        proto = export_network(build(architecture), args.size)
        for tensor in proto.graph.initializer:
            if len(tensor.dims) == 4:
                tensor.ClearField('raw_data')
        with atomic_path(path) as temporary:
            temporary.write_bytes(proto.SerializeToString())
    proto = onnx.ModelProto.FromString(path.read_bytes())
    rng = np.random.default_rng(0)
    for tensor in proto.graph.initializer:
        if len(tensor.dims) == 4:
            fan_in = np.prod(tensor.dims[1:])
            value = (rng.random(tensor.dims, np.float32) - 0.5) * np.float32((24 / fan_in)**0.5)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return proto


def whole_times(args: argparse.Namespace, networks: Dict[str, dict],
                precisions: List[str]) -> Dict[str, dict]:
    """Return the median run of each pass in milliseconds, by name and precision."""
    names = list(networks)
    chunks = [names[start:start + CHUNK] for start in range(0, len(names), CHUNK)]
    header = {key: str(value) for key, value in vars(args).items()
              if key not in ('out', 'passes')}
    found: Dict[str, dict] = {}
    with Journal(args.out / f'{args.target}.test.journal', header) as journal:
        lines = {line['part']: line['found'] for line in journal}
        parts = list(enumerate(chunks * args.passes))
        for part, chunk in track(parts, 'other architectures'):
            if part not in lines:
                lines[part] = time_chunk(args, {name: networks[name] for name in chunk},
                                         precisions)
                journal.write(dict(part=part, found=lines[part]))
            for name, times in lines[part].items():
                for precision, values in times.items():
                    of_name = found.setdefault(name, {}).setdefault(precision, [])
                    of_name.append(float(np.median(values)))
    return found


def time_chunk(args: argparse.Namespace, networks: Dict[str, dict],
               precisions: List[str]) -> Dict[str, dict]:
    """Return the milliseconds of each run, by network and precision."""
    from mmyolonas.runtime.timing import measure
    from mmyolonas.search.latency.operator_timing import NetworkFile
    files = {}
    for name, architecture in networks.items():
        proto = exported(args, name, architecture)
        for precision in precisions:
            files[name, precision] = NetworkFile(proto, args.target, precision, args.threads)
    image = next(iter(files.values())).image
    runs = {key: file.open() for key, file in files.items()}
    times = measure(runs, image, repeats=args.repeats)
    for file in files.values():
        file.close()
    found: Dict[str, dict] = {}
    for (name, precision), value in times.items():
        found.setdefault(name, {})[precision] = value.times
    return found


def report(args: argparse.Namespace, table, networks: Dict[str, dict], times: Dict[str, dict],
           precision: str) -> dict:
    """Print and return how well one precision is predicted."""
    import torch
    from scipy.stats import kendalltau, spearmanr

    from mmyolonas.search.latency.operators import operators
    from mmyolonas.search.space.architecture import build
    with torch.device('meta'):
        lists = [operators(build(networks[name]), args.size) for name in times]
    measured = np.array([np.mean(times[name][precision]) for name in times])
    macs = np.array([sum(op.macs for op in found) for found in lists], float)
    rows = {}
    fitted = [record for record in table.networks if record.precision == precision]
    ratio = np.array([sum(op.macs for op in table.network(record)) / record.median
                      for record in fitted])
    predictions = {'operators': table.predict_many(lists, precision),
                   'multiplications': macs * (1 / ratio).mean()}
    for name, predicted in predictions.items():
        error = np.abs(predicted / measured - 1)
        rows[name] = dict(
            spearman=float(spearmanr(predicted, measured)[0]),
            kendall=float(kendalltau(predicted, measured)[0]), error=float(error.mean()),
            worst=float(error.max()), predicted=predicted.tolist())
        print(f'{args.target} {precision} by {name}: Spearman {rows[name]["spearman"]:.3f}, '
              f'Kendall {rows[name]["kendall"]:.3f}, mean error {100 * error.mean():.1f} %, '
              f'worst {100 * error.max():.1f} %')
    inner = table.accuracy(precision)
    if inner is not None:
        print(f'  within the table (cross-validation): Spearman {inner.spearman:.3f}, mean error '
              f'{100 * inner.error:.1f} %')
    print(f'  {len(measured)} networks, {measured.min():.1f} to {measured.max():.1f} ms')
    return dict(rows, measured=measured.tolist())


def plot(results: Dict[str, dict], args: argparse.Namespace, path: Path) -> None:
    """Draw predicted over measured times."""
    from matplotlib.figure import Figure
    figure = Figure(figsize=(4.2 * len(results), 4), layout='constrained')
    for axes, (precision, found) in zip(figure.subplots(1, len(results), squeeze=False)[0],
                                        results.items()):
        measured = found['measured']
        for name, marker in (('multiplications', 'x'), ('operators', 'o')):
            axes.plot(measured, found[name]['predicted'], marker, alpha=0.7,
                      label=f'{name}: error {100 * found[name]["error"]:.1f} %')
        axes.axline((min(measured), ) * 2, slope=1, color='grey', linestyle='--')
        axes.set(xlabel='measured, ms', ylabel='predicted, ms',
                 title=f'{args.target} {precision}, {args.size} px, '
                       f'Spearman {found["operators"]["spearman"]:.3f}')
        axes.legend(fontsize=8)
    write_figure(path, figure, 110)


def main() -> None:
    """Measure, predict and print."""
    from mmyolonas.search.latency.operator_measurement import measure_table
    from mmyolonas.search.latency.operator_timing import TARGETS
    args = parse_args()
    precisions = args.precisions or list(TARGETS[args.target][:2])
    args.out.mkdir(parents=True, exist_ok=True)
    fitted, others = architectures(args)
    models = [(name, partial(exported, args, name, architecture))
              for name, architecture in fitted.items()]
    table = measure_table(models, args.target, precisions, args.size, args.threads,
                          args.out / f'{args.target}.json', args.repeats)
    times = whole_times(args, others, precisions)
    results = {precision: report(args, table, others, times, precision)
               for precision in precisions}
    write_json(args.out / f'{args.target}.result.json', results)
    plot(results, args, args.out / f'{args.target}.png')


if __name__ == '__main__':
    run_main(main)
