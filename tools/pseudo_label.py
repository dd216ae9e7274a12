"""Label images with a trained model: a COCO file whose annotations have scores.

Any mmdet detector and any bottom-up or one-stage mmpose estimator will do. What is
labelled is noted image by image, so a call that was killed continues where it was
when it is given again. Memory does not grow with the number of images. Beside
LABELS.json lie LABELS_pictures/ (drawn images for a look), LABELS.png (labels and
scores of each class) and, if there are any, LABELS_unreadable.txt.

How sure a label must be: --score-thr for all classes, --class-thr for some, or
--precision with --labelled: then each class gets the smallest threshold at which that
share of its detections is right on images with labels, which the model must not have
been trained on. With --ignore-above what lies between that score and the threshold is
written as a region to ignore, neither an object nor background. Train on the result with
mmyolonas.PseudoLabelDataset.

Several processes or machines: the same command with --shard 1/N to N/N. The parts lie in
LABELS_parts/; the last process that ends joins them.
"""
import argparse
from pathlib import Path
from typing import Dict, List, Optional

from mmyolonas.utils import arguments
from mmyolonas.utils.cli import add_config_options, new_parser, run_main
from mmyolonas.utils.errors import UserError, refuse_not_numbers
from mmyolonas.utils.images import find_images
from mmyolonas.utils.outputs import check_distinct, check_file
from mmyolonas.workflows.pseudo_labels.pseudo_labels import (
    PseudoLabeller,
    PseudoLabelOptions,
    PseudoLabelReport,
)
from mmyolonas.workflows.pseudo_labels.shards import Shard

EXAMPLES = """examples:
  python tools/pseudo_label.py configs/yolonas/yolonas_l_coco.py yolonas_l.pth \\
      data/coco/unlabeled2017 --out data/coco/annotations/pseudo_unlabeled2017.json \\
      --precision 0.8 --labelled data/coco/annotations/instances_val2017.json \\
      --labelled-images data/coco/val2017
  python tools/pseudo_label.py config.py model.pth 'photos/**/*.jpg' --out labels.json \\
      --score-thr 0.5 --class-thr person=0.6 "traffic light=0.4" --ignore-above 0.1
  sbatch --array=1-8 --gpus-per-task=1 --wrap 'python tools/pseudo_label.py config.py model.pth \\
      photos --out labels.json --shard $SLURM_ARRAY_TASK_ID/8'"""


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__, EXAMPLES)
    add_config_options(parser)
    parser.add_argument('checkpoint', help='checkpoint of the model')
    parser.add_argument('images', nargs='+', metavar='IMAGES',
                        help="image files, folders, or patterns such as 'photos/**/*.jpg'")
    parser.add_argument('--out', type=Path, required=True, metavar='LABELS.json')
    parser.add_argument('--image-root', type=Path, help='folder that file names in LABELS.json '
                        'start from (default: the common folder of the images)')
    parser.add_argument('--score-thr', type=arguments.share, default=0.5, help='default: 0.5')
    parser.add_argument('--class-thr', nargs='+', default=[], metavar='NAME=SCORE',
                        help='other thresholds for some classes')
    parser.add_argument('--precision', type=arguments.share,
                        help='choose thresholds that reach this '
                        'precision on --labelled')
    parser.add_argument('--labelled', metavar='ANN.json', help='COCO file of labelled images')
    parser.add_argument('--labelled-images', metavar='DIR', help='their folder (default: that of '
                        'ANN.json)')
    parser.add_argument('--ignore-above', type=arguments.share, metavar='LOW',
                        help='detections from this score up to the threshold become regions to '
                        'ignore (iscrowd) in place of background')
    parser.add_argument('--match-iou', type=arguments.share, default=0.5,
                        help='overlap (OKS for poses) of '
                        'a right detection with --precision (default: 0.5)')
    parser.add_argument('--iou-thr', type=arguments.share,
                        help='overlap above which the weaker of two '
                        "boxes is dropped (default: the config's)")
    parser.add_argument('--max-per-img', type=arguments.positive_int,
                        help='most labels of an image')
    parser.add_argument('--keypoint-thr', type=arguments.share, default=0.3,
                        help='key points below are '
                        'labelled as not visible (default: 0.3)')
    parser.add_argument('--pictures', type=arguments.natural, default=16,
                        help='drawn images (default: 16)')
    parser.add_argument('--batch-size', type=arguments.positive_int, default=1,
                        help='images at a time (default: 1)')
    parser.add_argument('--shard', metavar='I/N', help='label the I-th of N parts (from 1)')
    parser.add_argument('--device', type=arguments.device, help='for example cuda:0 or cpu')
    return parser.parse_args()


def class_thresholds(items: List[str]) -> Dict[str, float]:
    """Return thresholds by class name from ``name=score``."""
    thresholds = {}
    for item in items:
        name, _, score = item.rpartition('=')
        try:
            thresholds[name] = float(score)
        except ValueError:
            name = ''
        if not name:
            raise UserError(f'--class-thr takes NAME=SCORE, got {item!r}.')
    return thresholds


def show(report: PseudoLabelReport, out: Path) -> None:
    """Print what was done."""
    if report.open_shards:
        print(f'{report.images} images labelled; {out} is written when the parts '
              f'{", ".join(map(str, report.open_shards))} are done as well')
        return
    print(f'{"class":24s} {"threshold":>9s} {"precision":>9s} {"recall":>7s} {"labels":>8s}')
    for item in report.thresholds:
        score = 'left out' if item.threshold > 1 else f'{item.threshold:.3f}'
        print(f'{item.name[:24]:24s} {score:>9s} {_share(item.precision):>9s} '
              f'{_share(item.recall):>7s} {report.per_class[item.name]:8d}'
              + (f'  (by {item.basis})' if item.basis == 'all classes' else ''))
    again = f', {report.before} of them by an earlier call' if report.before else ''
    ignored = f' and {report.uncertain} regions to ignore' if report.uncertain else ''
    print(f'{report.annotations} labels{ignored} in {report.images} images{again}: {out}')
    if report.pictures:
        print(f'drawn images: {report.pictures}')
    if report.unreadable:
        print(f'{len(report.unreadable)} images could not be read and were left out:')
        for line in report.unreadable[:20]:
            print(f'  {line}')
        if len(report.unreadable) > 20:
            print(f'  ... all of them: {out.with_name(out.stem + "_unreadable.txt")}')


def _share(value: Optional[float]) -> str:
    return f'{value:.3f}' if value >= 0 else '-'


def main() -> None:
    """Run the tool."""
    args = parse_args()
    refuse_not_numbers()
    check_file(args.out, suffixes=('.json', ))
    check_distinct({'--out': args.out}, {'--labelled': args.labelled})
    options = PseudoLabelOptions(
        args.score_thr, class_thresholds(args.class_thr), args.precision, args.labelled,
        args.labelled_images, args.ignore_above, args.match_iou, args.iou_thr, args.max_per_img,
        args.keypoint_thr, args.batch_size, args.pictures)
    shard = Shard.parse(args.shard) if args.shard else None
    paths = find_images(args.images)
    labeller = PseudoLabeller(args.config, args.checkpoint, options, args.device,
                              args.cfg_options)
    show(labeller.run(paths, args.out, args.image_root, shard), args.out)


if __name__ == '__main__':
    run_main(main)
