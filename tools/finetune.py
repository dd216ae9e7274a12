"""Fine-tune YOLO-NAS or YOLO-NAS-Pose on your own images: look at the data, train, judge.

DATA is a folder in Roboflow's layout (train/, valid/, test/), with COCO JSON
files, with a data.yaml or classes.txt (YOLO text files), with Pascal VOC's XML files,
or an export of CVAT, LabelMe, Label Studio, VIA or CreateML, or a table of boxes (CSV);
or the data.yaml or COCO JSON file itself. Without a validation split one is set aside.
With --task pose: key points in COCO JSON files, or YOLO's lines with key points.

Writes to the work folder: data/ (what is in the data, and warnings), config.py
(an ordinary config to change and train again), train/ (checkpoints, logs),
evaluation/ (pictures of scores and mistakes) and report.md. Killed or
interrupted, the same command goes on. Nothing is downloaded.
"""
import argparse
from importlib.util import find_spec
from pathlib import Path
from typing import Optional

from mmyolonas.datasets.formats.layouts import FORMATS
from mmyolonas.utils import arguments
from mmyolonas.utils.cli import add_local_rank, new_parser, run_main
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.outputs import check_folder
from mmyolonas.workflows.finetune.finetune_settings import FinetuneOptions
from mmyolonas.workflows.finetune.finetuning import Finetuning, finetune

#: What --track knows, and the package that each needs.
TRACKERS = dict(tensorboard='tensorboard', wandb='wandb', mlflow='mlflow')

EXAMPLES = '''examples:
  python tools/finetune.py data/bccd
  python tools/finetune.py data/mine/data.yaml --model m --pretrained yolonas_m_coco.pth
  python tools/finetune.py data/mine --epochs 100 --imgsz 640 --work-dir work_dirs/mine
  python tools/finetune.py data/mouse --task pose --sigmas 0.05
  torchrun --nproc_per_node 8 tools/finetune.py data/mine --launcher pytorch --batch 64
  srun --ntasks-per-node 8 --gres gpu:8 python tools/finetune.py data/mine --launcher slurm'''


def parse_args():
    """Return the command line's options."""
    parser = new_parser(__doc__, EXAMPLES)
    parser.add_argument('data', type=Path, metavar='DATA', help='folder of the data set, or its '
                        'data.yaml or COCO JSON file')
    parser.add_argument('--format', choices=('auto', *FORMATS), default='auto',
                        help='layout of DATA (default: found out)')
    parser.add_argument('--task', choices=('detect', 'pose'), default='detect', help='boxes, or '
                        'key points of objects (default: detect)')
    parser.add_argument('--model', help='size s, m or l (default: s), for poses n, s, m or l '
                        '(default: n), or a config file that defines model = dict(...) alone')
    parser.add_argument('--pretrained', metavar='CHECKPOINT', help='weights to start from: a file, '
                        "or sg:NAME for the original's published weights, as sg:yolo_nas_s_coco "
                        '(default: none)')
    parser.add_argument('--mirror', metavar='URL', help='folder on a server that sg:NAME is '
                        'fetched from')
    parser.add_argument('--accept-licence', action='store_true', help='you have read and accept '
                        'the licence of the weights of sg:NAME: no commercial use, no passing on')
    parser.add_argument('--epochs', type=arguments.positive_int, help='default: 30')
    parser.add_argument('--imgsz', type=arguments.side, metavar='PIXELS',
                        help='longer side of the images in '
                        'training (default: 320, with a GPU 640, more for small objects)')
    parser.add_argument('--batch', type=arguments.positive_int,
                        help='images of a step (default: by the number of '
                        'images and the memory)')
    parser.add_argument('--flip', choices=('auto', 'both', 'horizontal', 'none'), default='auto',
                        help='how images may be mirrored (default: by where the objects are)')
    parser.add_argument('--lr', type=arguments.positive,
                        help='highest learning rate (default: by batch size, '
                        'model and --pretrained)')
    add_recipe_options(parser)
    parser.add_argument('--seed', type=arguments.seed, default=0,
                        help='of weights, order and augmentation')
    parser.add_argument('--sigmas', type=arguments.positive_list, metavar='NUMBERS', help='how '
                        'exactly key points can be placed, relative to the object (OKS '
                        'constants): one for all or one for each, with commas (default: '
                        "COCO's for points of its names, else estimated)")
    parser.add_argument('--track', nargs='+', choices=tuple(TRACKERS), default=[], help='write the '
                        'curves for these programs too')
    parser.add_argument('--drop-bad-images', action='store_true', help='leave out images that are '
                        'missing or damaged')
    parser.add_argument('--work-dir', type=Path, help='folder of the results (default: '
                        'work_dirs/finetune_<name of DATA>)')
    parser.add_argument('--launcher', choices=('none', 'pytorch', 'slurm'), default='none',
                        help='what has started several processes of this command, which share '
                        '--work-dir (see the examples; default: none)')
    add_local_rank(parser)
    parser.add_argument('--fresh', action='store_true', help='look at the data and train anew; an '
                        'earlier training is kept under another name')
    return parser.parse_args()


def add_recipe_options(parser: argparse.ArgumentParser) -> None:
    """Add what else of the training may be chosen."""
    parser.add_argument('--mix', choices=('auto', 'none', 'mosaic', 'mixup', 'both'),
                        default='auto', help='whether images are put together, but for the last '
                        'eighth of the epochs (default: by objects of an image and steps)')
    parser.add_argument('--balance', choices=('auto', 'on', 'off'), default='auto',
                        help='show images of rare classes more often (default: if a class is in '
                        'less than a tenth of the images)')
    parser.add_argument('--multi-scale', action='store_true', help='change the image size every '
                        'ten steps, from three quarters to five quarters')
    parser.add_argument('--grow', action='store_true', help='train the first six tenths of the '
                        'steps on images of half the side, which takes a little over half the '
                        'time')
    parser.add_argument('--freeze', type=arguments.natural, default=0, metavar='STAGES',
                        help='keep the stem and the first STAGES stages of --pretrained as they '
                        'are (1 to 4; default: 0, nothing is kept)')
    parser.add_argument('--head-lr', type=arguments.positive, default=1.0, metavar='FACTOR',
                        help="factor of the head's learning rate (default: 1)")
    parser.add_argument('--patience', type=arguments.natural, metavar='EPOCHS',
                        help='end the training after EPOCHS without a gain, 0 for never (default: '
                        'a third of --epochs from 51 on, else never)')


def check_task(args: argparse.Namespace) -> None:
    """Choose the model and look whether the options belong to the task.

    Raises:
        UserError: One does not.
    """
    poses = args.task == 'pose'
    sizes = ('n', 's', 'm', 'l') if poses else ('s', 'm', 'l')
    args.model = args.model or sizes[0]
    if args.model not in sizes and not args.model.endswith('.py'):
        raise UserError(f'--model must be {", ".join(sizes)} or a config file, got '
                        f'{args.model!r}.')
    given = [option for option, value, default in (
        ('--mix', args.mix, 'auto'), ('--balance', args.balance, 'auto'),
        ('--multi-scale', args.multi_scale, False), ('--grow', args.grow, False))
        if value != default]
    if poses and given:
        raise UserError(f'{given[0]} is of detection, it cannot go with --task pose.')
    if args.sigmas and not poses:
        raise UserError('--sigmas are of key points: add --task pose.')
    for name in args.track:
        if find_spec(TRACKERS[name]) is None:
            raise UserError(f'--track {name}: the package is not there; pip install {name}.')


def pretrained_file(args: argparse.Namespace) -> Optional[str]:
    """Return the file of --pretrained, fetched if it is published weights.

    Raises:
        UserError: It cannot be had; see ``fetch_published``.
    """
    if not args.pretrained:
        return None
    if not args.pretrained.startswith('sg:'):
        # the config has to work from any folder
        return str(Path(args.pretrained).absolute())
    from mmyolonas.model_converters.published import fetch_published
    return str(fetch_published(args.pretrained, args.mirror, args.accept_licence,
                               Path('work_dirs') / 'published_weights').absolute())


def main() -> None:
    """Run the tool."""
    args = parse_args()
    check_task(args)
    if args.freeze > 4:
        raise UserError(f'--freeze must be 0 to 4, the backbone has 4 stages; got {args.freeze}.')
    if args.freeze and not args.pretrained:
        raise UserError('--freeze needs --pretrained: without weights there is nothing to keep.')
    name = (args.data if args.data.is_dir() else args.data.parent).absolute().name
    pretrained = pretrained_file(args)
    options = FinetuneOptions(args.model, pretrained, args.epochs, args.imgsz, args.batch,
                              args.flip, args.lr, args.seed, args.mix, args.balance,
                              args.multi_scale, args.freeze, args.head_lr, args.patience,
                              args.grow, args.task, args.sigmas, tuple(args.track))
    work_dir = args.work_dir or Path('work_dirs') / f'finetune_{name}'
    check_folder(work_dir)
    finetune(Finetuning(args.data, work_dir.absolute(), args.format, options,
                        args.drop_bad_images, args.launcher), args.fresh)


if __name__ == '__main__':
    run_main(main)
