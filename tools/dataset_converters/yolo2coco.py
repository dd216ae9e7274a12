"""Convert a data set in YOLO (Darknet) text files to COCO JSON.

Beside each image lies (or, in labels/ for an image in images/) a text file with
a line per object: class, centre x, centre y, width, height, as fractions of the
image; for poses followed by x, y or x, y, visibility of each key point. Images
without a text file have no objects.

Class names come from --names, a file with one name a line or the data.yaml of
such data sets.
"""
from pathlib import Path

from mmyolonas.datasets.formats.yolo_format import images_below, label_file
from mmyolonas.datasets.formats.yolo_labels import (
    RowKind,
    read_rows,
    row_kind,
    to_annotations,
    to_rows,
)
from mmyolonas.datasets.formats.yolo_names import read_names, read_yaml
from mmyolonas.utils import arguments
from mmyolonas.utils.cli import new_parser, run_main
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import write_json
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
    parser.add_argument('--keypoints', type=arguments.natural, metavar='K', help='key points of '
                        'an object, 0 for boxes only (default: kpt_shape of the data.yaml, else 0)')
    return parser.parse_args()


def kind_of(args) -> RowKind:
    """Return what the lines of the text files are."""
    if args.keypoints is None and args.names.suffix.lower() in ('.yaml', '.yml'):
        values = read_yaml(args.names)
        if values.get('kpt_shape'):
            return row_kind(values, [], args.names)
    return RowKind(args.keypoints or 0)


def main() -> None:
    """Run the tool."""
    args = parse_args()
    check_file(args.out)
    names = read_names(args.names)
    kind = kind_of(args)
    paths = images_below(args.images)
    if not paths:
        raise UserError(f'{args.images} holds no images.')
    images, annotations, dropped = [], [], 0
    for path in track(paths, 'images'):
        size = image_size(path)
        if size is None:
            raise UserError(f'image {path} cannot be read; replace or remove it.')
        width, height = size
        label = label_file(path, args.images, args.labels)
        rows = to_rows(read_rows(label), len(names), kind, label)
        found = to_annotations(rows, width, height)
        dropped += len(rows) - len(found)
        for annotation in found:
            annotations.append(dict(id=len(annotations) + 1, image_id=len(images), **annotation))
        images.append(dict(id=len(images), file_name=path.relative_to(args.images).as_posix(),
                           width=width, height=height))
    categories = [dict(id=index, name=name) for index, name in enumerate(names, 1)]
    if kind.keypoints:
        for category in categories:
            category.update(keypoints=[f'point{i}' for i in range(kind.keypoints)], skeleton=[])
    write_json(args.out, dict(images=images, annotations=annotations, categories=categories))
    print(f'{args.out}: {len(images)} images, {len(annotations)} objects of {len(names)} classes'
          + (f'; {dropped} boxes without area left out' if dropped else ''))


if __name__ == '__main__':
    run_main(main)
