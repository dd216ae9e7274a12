"""Do the runtimes and libraries that people use find what PyTorch finds?

Twelve pictures, two thirds of them letterboxed, go through every client whose packages are
there: libraries of detection, pose, slicing and tracking, runtimes in Python and Node, and the
readers of the flavours flat, deepstream, ultralytics and maps, typed again. A box is right with
the same class, an overlap above 0.99 and a score within 0.01 of PyTorch's, for every box that
PyTorch scores above 0.25.

A client that needs another environment runs in it: every version that one of --pythons has is
a row. Converted files are made by the recipes of configs/deploy in the same environments.
"""
import argparse
import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.clients import prepare  # noqa: E402
from benchmarks.clients.rows import ELSEWHERE, ROWS  # noqa: E402
from mmyolonas.utils.cli import new_parser, run_main  # noqa: E402

EXAMPLES = '''examples:
  python benchmarks/clients.py configs/yolonas/yolonas_s_sample.py best.pth \\
      --images data/sample_shapes/val --work-dir work_dirs/clients
  python benchmarks/clients.py ... --pythons .venv-ncnn/bin/python .venv-tflite/bin/python \\
      --node node_folder --only ncnn tflite onnxruntime-web'''


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__, EXAMPLES)
    parser.add_argument('config', help='config of a detector')
    parser.add_argument('checkpoint', help='its weights')
    parser.add_argument('--images', type=Path, required=True, help='folder of pictures, the first '
                        'twelve are taken; square ones of one size')
    parser.add_argument('--pose', nargs=3, metavar=('CONFIG', 'CHECKPOINT', 'IMAGES'),
                        help="the same of a pose model, for mmpose's inferencers")
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/clients'))
    parser.add_argument('--pythons', nargs='+', default=[], metavar='PYTHON', help='interpreters '
                        'of further environments')
    parser.add_argument('--node', metavar='DIR', help='folder whose node_modules has '
                        'onnxruntime-node and onnxruntime-web')
    parser.add_argument('--only', nargs='+', choices=list(ROWS), metavar='ROW',
                        help='these rows: ' + ', '.join(ROWS))
    parser.add_argument('--json', type=Path, help='write the rows as JSON')
    return parser.parse_args()


def jobs_of(args: argparse.Namespace, config: Any, metadata: Any, images: List[str],
            reference: Dict[str, List[list]]) -> Dict[str, Dict[str, Any]]:
    """Return what the workers are told, by task."""
    import numpy as np

    from mmyolonas.runtime.runtime import Runtime
    from mmyolonas.utils.configs import load_config
    from mmyolonas.utils.files import write_json
    folder = args.work_dir.resolve()
    with Runtime(str(folder / 'none.onnx')) as runtime:
        np.savez(folder / 'feeds.npz', **{
            str(i): runtime.preprocess([image])[0] for i, image in enumerate(images)})
    names = metadata.class_names
    objects = [(index, row) for index, rows in enumerate(reference['detection']) for row in rows]
    from mmyolonas.runtime.numpy_ops import read_image
    write_json(str(folder / 'annotations.json'), dict(
        images=[dict(id=i, file_name=os.path.basename(image), height=size[0], width=size[1])
                for i, image in enumerate(images) for size in [read_image(image).shape]],
        categories=[dict(id=i, name=name) for i, name in enumerate(names)],
        annotations=[dict(id=i + 1, image_id=image, category_id=row[5], iscrowd=0,
                          bbox=[*row[:2], row[2] - row[0], row[3] - row[1]],
                          area=(row[2] - row[0]) * (row[3] - row[1]))
                     for i, (image, row) in enumerate(objects)]))
    job = dict(config=os.path.abspath(args.config), checkpoint=os.path.abspath(args.checkpoint),
               images=images, feeds=str(folder / 'feeds.npz'), classes=names, node=args.node,
               annotations=str(folder / 'annotations.json'), outputs=[],
               iou=metadata.postprocess.iou_threshold,
               deploy_config=str(ROOT / 'configs/deploy/detection_onnxruntime_static.py'))
    job.update(prepare.make_mosaic(images, reference['detection'], folder / 'mosaic' / 'all.png'))
    job.update(prepare.make_video(images, reference['detection'], folder / 'ways.mp4'))
    jobs = dict(detection=job)
    if args.pose:
        pose = prepare.make_pictures(Path(args.pose[2]), folder / 'pose_pictures')
        reference['pose'] = prepare.predict(load_config(args.pose[0]), args.pose[1], pose)
        jobs['pose'] = dict(images=pose, config=os.path.abspath(args.pose[0]),
                            checkpoint=os.path.abspath(args.pose[1]))
    return jobs


def show(outcomes: List[Any], missing: List[str]) -> None:
    """Print the table."""
    print('\n| client | version | file | right | |\n|---|---|---|---|---|')
    for item in outcomes:
        figure = item.figure or item.state
        print(f'| {item.title} | {item.version} | {item.flavour} | {figure} | {item.note} |')
    for title, why in ELSEWHERE:
        print(f'| {title} | | | not run here | {why} |')
    if missing:
        print('\nnot run, no environment has the packages: ' + ', '.join(missing))


def main() -> None:
    """Prepare, run and print."""
    from benchmarks.clients.measure import Bench, installed, places
    from mmyolonas.utils.configs import load_config
    from mmyolonas.utils.files import write_json
    args = parse_args()
    args.work_dir.mkdir(parents=True, exist_ok=True)
    folder = args.work_dir.resolve()
    config = load_config(args.config)
    images = prepare.make_pictures(args.images, folder / 'pictures')
    reference = {'detection': prepare.predict(config, args.checkpoint, images),
                 'best class': prepare.predict(config, args.checkpoint, images,
                                               multi_label=False)}
    files, metadata = prepare.export_all(config, args.checkpoint, folder)
    jobs = jobs_of(args, config, metadata, images, reference)
    print(f'reference: PyTorch, {sum(map(len, reference["detection"]))} boxes'
          + (f', {sum(map(len, reference["pose"]))} poses' if args.pose else ''), flush=True)
    bench = Bench(jobs, files, metadata, reference, folder, args.images)
    pythons = {python: installed(python) for python in [sys.executable, *args.pythons]}
    outcomes, missing = [], []
    for name in args.only or ROWS:
        row = ROWS[name]
        found = [] if row.gives == 'poses' and not args.pose else places(row, pythons, args.node)
        missing += [] if found else [name]
        for python, version in found:
            outcomes.append(bench.run(row, python, version))
            last = outcomes[-1]
            print(f'{last.title} {version}: {last.figure or last.state} {last.note}', flush=True)
            if args.json:
                write_json(str(args.json), [asdict(item) for item in outcomes])
    show(outcomes, missing)


if __name__ == '__main__':
    run_main(main)
