"""Images a second that one data-loading process delivers, against other implementations.

The training pipeline of the published recipe (affine, channel order, HSV, mirroring, mixup) on
the images of a COCO-format folder, every implementation with its own code, one process and one
thread each, asked in turn. Two figures: what a worker of the data loader does, and that plus the
conversion to the network's input, which mmdet does in the training process.

    python -m venv .venv-peer && .venv-peer/bin/pip install modern-yolonas==0.5.0
    python benchmarks/data_pipeline.py data/bccd/train --peer-python .venv-peer/bin/python
"""
import argparse
import json
import sys
from pathlib import Path
from typing import Callable, Dict, List

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import Worker, compare, interleave, serve, table, timed, write_json

OURS = 'mmyolonas'
PARTS = {
    'load': 'read, augment and collate: one worker of the data loader',
    'input': "the same and the conversion to the network's input",
}


def build_handlers(name: str, source: dict) -> Dict[str, Callable]:
    """Return what a worker with this implementation can do."""
    import random

    import cv2
    import numpy as np
    import torch

    from benchmarks.loaders import LOADERS, Source
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    loader = LOADERS[name](Source(**source))
    random.seed(0)
    np.random.seed(0)
    generator = np.random.default_rng(0)

    def setup(part: str, batch: int) -> dict:
        """Deliver two batches; returns the number of images and the shape of the input."""
        generator.bit_generator.state = np.random.default_rng(0).bit_generator.state
        loader.load(list(range(min(batch, len(loader.dataset)))))
        images = loader.to_input(loader.load(list(range(batch))))
        return dict(images=len(loader.dataset), shape=list(images.shape))

    def time(part: str, batch: int, clock: str) -> List[float]:
        """Time one batch; returns the seconds an image."""
        indices = generator.integers(len(loader.dataset), size=batch).tolist()

        def run() -> None:
            loaded = loader.load(indices)
            if part == 'input':
                loader.to_input(loaded)

        return [seconds / batch for seconds in timed(run, clock=clock)]

    return dict(setup=setup, time=time)


def parse_args() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('folder', nargs='?', default='data/bccd/train',
                        help='images with _annotations.coco.json beside them')
    parser.add_argument('--peer-python', help='interpreter of the modern-yolonas environment')
    parser.add_argument('--sg-python', help='interpreter of the SuperGradients environment')
    parser.add_argument('--size', type=int, default=640,
                        help="side of the images; this package takes its config's, 640")
    parser.add_argument('--batch', type=int, default=16, help='images a round')
    parser.add_argument('--rounds', type=int, default=40)
    parser.add_argument('--clock', choices=['wall', 'cpu'], default='wall',
                        help='cpu: processor time, for a machine that does other work too')
    parser.add_argument('--json', metavar='FILE', help='also write the results here')
    parser.add_argument('--worker', nargs=2, metavar=('NAME', 'SOURCE'), help=argparse.SUPPRESS)
    return parser.parse_args()


def find_classes(folder: str) -> List[str]:
    """Return the names of the categories that have boxes."""
    path = Path(folder) / '_annotations.coco.json'
    if not path.is_file():
        raise SystemExit(f'{path} does not exist: give the folder of a COCO-format data set with '
                         'its annotations beside the images, as Roboflow exports it.')
    data = json.loads(path.read_text())
    used = {annotation['category_id'] for annotation in data['annotations']}
    return [category['name'] for category in data['categories'] if category['id'] in used]


def run_part(part: str, workers: List[Worker], args: argparse.Namespace) -> dict:
    """Measure a part with all workers, print its table and return the results."""
    info = {worker.name: worker.call('setup', part=part, batch=args.batch) for worker in workers}
    seconds = interleave(workers, 'time', args.rounds, label=part, part=part, batch=args.batch,
                         clock=args.clock)
    rows = compare(seconds, OURS)
    print(f'\n{PARTS[part]}\n')
    print(table(rows, 'implementation', unit='ms an image', extra={
        'images a second': {row.name: f'{1 / row.median:.1f}' for row in rows},
        'input': {name: 'x'.join(map(str, values['shape'])) for name, values in info.items()},
    }))
    for row in rows:
        if row.name != OURS:
            print(f'\n{OURS} delivers {1 / row.ratio:.2f} times as many images as {row.name} '
                  f'({1 / row.ratio_high:.2f} .. {1 / row.ratio_low:.2f}).')
    return dict(rows=rows, info=info, seconds=seconds)


def main() -> None:
    """Run the benchmark."""
    args = parse_args()
    if args.worker:
        name, source = args.worker
        serve(lambda: build_handlers(name, json.loads(source)))
        return
    folder = str(Path(args.folder).resolve())
    source = json.dumps(dict(folder=folder, classes=find_classes(folder), size=args.size))
    pythons = {OURS: sys.executable, 'modern-yolonas': args.peer_python,
               'super-gradients': args.sg_python}
    workers = [Worker(name, python, [__file__, '--worker', name, source], threads=1)
               for name, python in pythons.items() if python]
    try:
        results = {part: run_part(part, workers, args) for part in PARTS}
    finally:
        for worker in workers:
            worker.close()
    if args.json:
        write_json(args.json, arguments=vars(args), results=results)


if __name__ == '__main__':
    main()
