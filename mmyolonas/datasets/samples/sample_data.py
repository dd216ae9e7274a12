"""Generated data sets in COCO format: something to train on without a download.

The pictures are drawn from a seed, so they are the same on every machine with
the same OpenCV, need no licence and take seconds to make.
"""
import argparse
import glob
import json
import os
import shutil
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Callable, Dict, Iterator, List, Optional, Sequence, Tuple

import cv2
import numpy as np

from mmyolonas.datasets.samples.sample_figures import KEYPOINT_NAMES, SKELETON, figures_image
from mmyolonas.datasets.samples.sample_shapes import SHAPE_CLASSES, SHAPE_KINDS, shapes_image
from mmyolonas.datasets.samples.sample_textures import texture_bank
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import is_full_disk, read_json, write_image, write_json, write_text
from mmyolonas.utils.locks import only_writer
from mmyolonas.utils.progress import track

_VERSION = 1
_DESCRIPTION = 'sample.json'


def generate_detection_samples(out_dir: str,
                               num_train: int = 400,
                               num_val: int = 100,
                               size: int = 320,
                               seed: int = 0,
                               workers: int = 1,
                               kind: str = 'shapes') -> Dict[str, str]:
    """Write images of textured shapes with boxes of five classes.

    The folder gets ``train/`` and ``val/`` with JPEG images and
    ``annotations/instances_train.json`` and ``instances_val.json`` in COCO
    format; boxes enclose the visible part of a shape. It appears complete or
    not at all, and one made with the same arguments is left as it is.

    Args:
        out_dir (str): Folder to make.
        num_train (int): Number of training images. Defaults to 400.
        num_val (int): Number of held-out images. Defaults to 100.
        size (int): Side length of the images in pixels. Defaults to 320.
        seed (int): Images depend on it and their number. Defaults to 0.
        workers (int): Processes that draw; the images are the same. Defaults to 1.
        kind (str): 'shapes', or 'single' (one large object), 'crowd' (many small ones),
            'tail' (classes of very different frequency). Defaults to 'shapes'.

    Returns:
        dict[str, str]: Paths of the annotation files under 'train', 'val'.

    Raises:
        FileExistsError: If the folder exists and holds something else.
    """
    categories = [dict(id=i, name=name, supercategory='shape')
                  for i, name in enumerate(SHAPE_CLASSES, 1)]

    def annotate(obj) -> dict:
        return dict(category_id=obj.label + 1, bbox=obj.bbox, area=obj.area)

    task = 'detection' if kind == 'shapes' else f'detection, {kind}'
    draw = shapes_image if kind == 'shapes' else partial(shapes_image, kind=SHAPE_KINDS[kind])
    return _generate(out_dir, task, 'instances', (num_train, num_val), size, seed, draw, annotate,
                     categories, workers)


def generate_pose_samples(out_dir: str,
                          num_train: int = 400,
                          num_val: int = 100,
                          size: int = 320,
                          seed: int = 0,
                          workers: int = 1) -> Dict[str, str]:
    """Write images of jointed figures with the 17 key points of COCO.

    The folder gets ``train/``, ``val/``, ``annotations/person_keypoints_train.json``
    and ``person_keypoints_val.json``. A figure's left limbs are warm and its
    right limbs cold in colour, so that sides can be told apart.

    Args:
        out_dir (str): Folder to make.
        num_train (int): Number of training images. Defaults to 400.
        num_val (int): Number of held-out images. Defaults to 100.
        size (int): Side length of the images in pixels. Defaults to 320.
        seed (int): Images depend on it and their number. Defaults to 0.
        workers (int): Processes that draw; the images are the same. Defaults to 1.

    Returns:
        dict[str, str]: Paths of the annotation files under 'train', 'val'.

    Raises:
        FileExistsError: If the folder exists and holds something else.
    """
    categories = [dict(id=1, name='person', supercategory='person', keypoints=list(KEYPOINT_NAMES),
                       skeleton=[list(limb) for limb in SKELETON])]

    def annotate(figure) -> dict:
        return dict(category_id=1, bbox=figure.bbox, area=figure.area,
                    keypoints=figure.keypoints.ravel().tolist(),
                    num_keypoints=int((figure.keypoints[:, 2] > 0).sum()))

    return _generate(out_dir, 'pose', 'person_keypoints', (num_train, num_val), size, seed,
                     figures_image, annotate, categories, workers)


def _generate(out_dir: str, task: str, prefix: str, counts: Tuple[int, int], size: int, seed: int,
              draw: Callable, annotate: Callable, categories: List[dict],
              workers: int) -> Dict[str, str]:
    """Make the folder in a temporary place and move it to ``out_dir``."""
    if size < 64 or min(counts) < 1:
        raise ValueError(f'sample images need size >= 64 and at least one image in each part, '
                         f'got size={size}, counts={counts}')
    out_dir = os.path.abspath(out_dir)
    files = {split: os.path.join(out_dir, 'annotations', f'{prefix}_{split}.json')
             for split in ('train', 'val')}
    description = dict(task=task, num_train=counts[0], num_val=counts[1], size=size, seed=seed,
                       version=_VERSION)
    if os.path.exists(out_dir) and os.listdir(out_dir):
        if _read_description(out_dir) == description:
            return files
        raise FileExistsError(f"'{out_dir}' exists and holds other data: choose another folder "
                              'or remove it')
    with only_writer(f'{out_dir}.sample'), _unfinished(out_dir) as temporary:
        os.makedirs(os.path.join(temporary, 'annotations'))
        bank = texture_bank(np.random.default_rng(seed), size)
        for part, (split, count) in enumerate(zip(files, counts)):
            write = partial(_write_one, os.path.join(temporary, split), size, (seed, part), bank,
                            draw)
            data = _write_split(temporary, split, count, size, write, annotate, workers)
            data['categories'] = categories
            name = os.path.join(temporary, 'annotations', f'{prefix}_{split}.json')
            write_text(name, json.dumps(data))
        write_json(os.path.join(temporary, _DESCRIPTION), description)
        if os.path.isdir(out_dir):
            os.rmdir(out_dir)
        os.replace(temporary, out_dir)
    return files


@contextmanager
def _unfinished(out_dir: str) -> Iterator[str]:
    """Give a hidden folder beside another; what killed processes have left of it goes."""
    parent, name = os.path.split(out_dir)
    try:
        os.makedirs(parent, exist_ok=True)
        for old in Path(parent).glob(f'.sample_{glob.escape(name)}_*'):
            shutil.rmtree(old, ignore_errors=True)
        temporary = tempfile.mkdtemp(prefix=f'.sample_{name}_', dir=parent)
    except OSError as error:
        if is_full_disk(error):
            raise
        raise UserError(f'cannot write {out_dir}: {error.strerror}. Choose a folder you may '
                        'write to.') from error
    os.chmod(temporary, 0o755)
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _read_description(out_dir: str) -> Optional[dict]:
    try:
        return read_json(os.path.join(out_dir, _DESCRIPTION), 'a description of drawn data')
    except UserError:
        return None


def _write_split(folder: str, split: str, count: int, size: int, write: Callable,
                 annotate: Callable, workers: int) -> Dict[str, list]:
    """Draw and save the images of one part; return its COCO lists without categories."""
    os.makedirs(os.path.join(folder, split))
    images, annotations = [], []
    with _mapping(write, workers) as drawn:
        for index, (name, objects) in enumerate(track(drawn(range(count)),
                                                      f'drawing {split} images', count)):
            images.append(dict(id=index + 1, file_name=name, height=size, width=size))
            for obj in objects:
                annotations.append(dict(id=len(annotations) + 1, image_id=index + 1, iscrowd=0,
                                        segmentation=[], **annotate(obj)))
    info = dict(description='generated by mmyolonas.datasets.samples.sample_data', version=_VERSION)
    return dict(info=info, images=images, annotations=annotations)


def _write_one(folder: str, size: int, seed: Tuple[int, int], bank, draw: Callable,
               index: int) -> Tuple[str, list]:
    """Draw and save an image; return its name and its objects."""
    # Every image has a stream of its own: it does not depend on how many there are.
    img, objects = draw(np.random.default_rng((*seed, index)), bank, size)
    name = f'{index:06d}.jpg'
    write_image(os.path.join(folder, name), img, [cv2.IMWRITE_JPEG_QUALITY, 92])
    return name, objects


@contextmanager
def _mapping(function: Callable, workers: int) -> Iterator[Callable]:
    """Give a ``map`` of a function, in order, by several processes if asked for."""
    if workers < 2:
        yield partial(map, function)
        return
    with ProcessPoolExecutor(workers, get_context('spawn'), _take, (function, )) as pool:
        yield partial(pool.map, _call, chunksize=16)


def _take(function: Callable) -> None:
    """Keep what a process is to call: it holds the textures, which are sent once."""
    global _function
    _function = function


def _call(index: int) -> Tuple[str, list]:
    return _function(index)


def main(argv: Optional[Sequence[str]] = None) -> None:
    """Run the command line.

    Args:
        argv (Sequence[str], optional): Arguments; None takes ``sys.argv``.
    """
    parser = argparse.ArgumentParser(
        description='Generate a small data set in COCO format: textured shapes with boxes, or '
        'jointed figures with key points. The same arguments give the same images.')
    parser.add_argument('task', choices=['detection', 'pose'])
    parser.add_argument('out_dir', help='folder to make, for example data/sample_shapes')
    parser.add_argument('--num-train', type=int, default=400, help='training images (400)')
    parser.add_argument('--num-val', type=int, default=100, help='held-out images (100)')
    parser.add_argument('--size', type=int, default=320, help='side length in pixels (320)')
    parser.add_argument('--seed', type=int, default=0, help='seed of the drawings (0)')
    parser.add_argument('--kind', choices=list(SHAPE_KINDS), default='shapes', help='of detection: '
                        'single has one large object an image, crowd many small ones, tail '
                        'classes of very different frequency (shapes)')
    args = parser.parse_args(argv)
    if args.task == 'pose' and args.kind != 'shapes':
        parser.error(f'--kind {args.kind} is one of detection; pose has one kind')
    generate = (partial(generate_detection_samples, kind=args.kind) if args.task == 'detection'
                else generate_pose_samples)
    try:
        files = generate(args.out_dir, args.num_train, args.num_val, args.size, args.seed)
    except (FileExistsError, ValueError) as error:
        parser.error(str(error))
    print('\n'.join(files.values()))


if __name__ == '__main__':
    main()
