"""Convert a data set in YOLO (Darknet) text files to COCO JSON.

Beside each image lies (or, in labels/ for an image in images/) a text file with
a line per object: class, centre x, centre y, width, height, as fractions of the
image; for poses followed by x, y or x, y, visibility of each key point. Images
without a text file have no objects.

Class names come from --names, a file with one name a line or the data.yaml of
such data sets.
"""
from pathlib import Path

from mmyolonas.datasets.formats.yolo_format import (
    label_file,
    read_labels,
    read_names,
    to_annotations,
)
from mmyolonas.utils import arguments
from mmyolonas.utils.cli import new_parser, run_main
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import IMAGE_SUFFIXES, write_json
from mmyolonas.utils.images import image_size
from mmyolonas.utils.outputs import check_file
from mmyolonas.utils.progress import track

EXAMPLES = '''examples:
  python tools/dataset_converters/yolo2coco.py data/mine/train/images train.json \\
      --names data/mine/data.yaml
  python tools/dataset_converters/yolo2coco.py images people.json --names n.txt --keypoints 17'''


def parse_args():
    """Return the command line's options."""
    parser = new_parser(__doc__, EXAMPLES)
    parser.add_argument('images', type=Path, help='folder of the images (searched recursively)')
    parser.add_argument('out', type=Path, help='COCO JSON file to write')
    parser.add_argument('--labels', type=Path, help='folder of the text files (default: beside '
                        'the images, or labels/ beside images/)')
    parser.add_argument('--names', type=Path, required=True, help='class names: text file or '
                        'data.yaml')
    parser.add_argument('--keypoints', type=arguments.natural, default=0, metavar='K',
                        help='key points of an '
                        'object (default: 0, boxes only)')
    return parser.parse_args()


def main() -> None:
    """Run the tool."""
    args = parse_args()
    check_file(args.out)
    names = read_names(args.names)
    paths = sorted(p for p in args.images.rglob('*') if p.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise UserError(f'{args.images} holds no images.')
    images, annotations, dropped = [], [], 0
    for path in track(paths, 'images'):
        size = image_size(path)
        if size is None:
            raise UserError(f'image {path} cannot be read; replace or remove it.')
        width, height = size
        rows = read_labels(label_file(path, args.images, args.labels), len(names), args.keypoints)
        found = to_annotations(rows, width, height)
        dropped += len(rows) - len(found)
        for annotation in found:
            annotations.append(dict(id=len(annotations) + 1, image_id=len(images), **annotation))
        images.append(dict(id=len(images), file_name=path.relative_to(args.images).as_posix(),
                           width=width, height=height))
    categories = [dict(id=index, name=name) for index, name in enumerate(names, 1)]
    if args.keypoints:
        for category in categories:
            category.update(keypoints=[f'point{i}' for i in range(args.keypoints)], skeleton=[])
    write_json(args.out, dict(images=images, annotations=annotations, categories=categories))
    print(f'{args.out}: {len(images)} images, {len(annotations)} objects of {len(names)} classes'
          + (f'; {dropped} boxes without area left out' if dropped else ''))


if __name__ == '__main__':
    run_main(main)
