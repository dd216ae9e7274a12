"""YOLO-NAS-Pose on generated figures: sample images, training, evaluation, pictures.

The pose counterpart of tools/quickstart.py. Each stage is timed and is not
repeated when the tool is called again; an interrupted training continues where
it was. A table with the results is printed and written to summary.md in the
work folder.
"""
import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import List

import numpy as np

from mmyolonas.utils import arguments
from mmyolonas.utils.checkpoints import last_checkpoint
from mmyolonas.utils.cli import add_cfg_options, new_parser, run_main
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import read_json, write_image
from mmyolonas.utils.outputs import check_folder
from mmyolonas.utils.stages import Results, Stage, StageRunner, last_metrics, run_tool

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / 'configs' / 'yolonas_pose' / 'yolonas_pose_n_sample.py'
METRIC = 'coco/AP'


@dataclass
class Context:
    """What every stage is given.

    Args:
        config: Config of the model.
        work_dir: Folder of all results.
        data_dir: Folder of the generated images.
        num_train, num_val: Number of generated images.
        overrides: Settings of the config to override, as for ``--cfg-options``.
    """
    config: Path
    work_dir: Path
    data_dir: Path
    num_train: int
    num_val: int
    overrides: List[str]

    @property
    def train_dir(self) -> Path:
        """Path: Work folder of the training."""
        return self.work_dir / 'train'

    @property
    def annotations(self) -> Path:
        """Path: Annotations of the held-out images."""
        return self.data_dir / 'annotations' / 'person_keypoints_val.json'

    @property
    def cfg_options(self) -> List[str]:
        """list[str]: The options of ``tools/train.py`` and ``tools/test.py``."""
        options = list(self.overrides)
        for loader in ('train', 'val', 'test'):
            options.append(f'{loader}_dataloader.dataset.data_root={self.data_dir}/')
            if loader != 'train':
                options.append(f'{loader}_evaluator.ann_file={self.annotations}')
        return options

    def checkpoint(self) -> Path:
        """Return the best checkpoint, or the last if none was validated.

        Raises:
            UserError: There is none.
        """
        best = sorted(self.train_dir.glob(f'best_{METRIC.replace("/", "_")}_epoch_*.pth'),
                      key=lambda path: path.stat().st_mtime)
        if best:
            return best[-1]
        last = last_checkpoint(str(self.train_dir))
        if last is None:
            raise UserError('there is no checkpoint yet; run the training first.')
        return last


def make_data(context: Context) -> Results:
    """Draw the sample images."""
    from mmyolonas.datasets.samples.sample_data import generate_pose_samples
    generate_pose_samples(str(context.data_dir), context.num_train, context.num_val)
    return dict(images=f'{context.num_train} + {context.num_val} held out',
                folder=context.data_dir)


def train(context: Context) -> Results:
    """Train, or continue an interrupted training."""
    run_tool(
        [str(ROOT / 'tools' / 'train.py'), str(context.config), '--work-dir',
         str(context.train_dir), '--resume', '--cfg-options', *context.cfg_options],
        context.work_dir / 'train.log', show=r'Epoch\(\w+\).*|no GPU: .*|resumed epoch.*')
    return dict(checkpoint=context.checkpoint())


def evaluate(context: Context) -> Results:
    """Evaluate the best checkpoint on the held-out images with pycocotools."""
    folder = context.work_dir / 'evaluation'
    run_tool(
        [str(ROOT / 'tools' / 'test.py'), str(context.config), str(context.checkpoint()),
         '--work-dir', str(folder), '--cfg-options', *context.cfg_options],
        context.work_dir / 'evaluation.log', show=r'Epoch\(test\) \[ *\d+/\d+\]  +eta.*')
    metrics = last_metrics(folder)
    return {'AP': metrics[METRIC], 'AP50': metrics[f'{METRIC} .5']}


def draw(context: Context) -> Results:
    """Draw ground truth beside predictions."""
    from mmyolonas.inference.inference import InferenceOptions, Predictor
    from mmyolonas.utils.configs import load_config
    from mmyolonas.utils.images import read_image
    from mmyolonas.visualization import make_grid
    from mmyolonas.visualization.drawing import draw_poses
    predictor = Predictor(load_config(str(context.config)), str(context.checkpoint()),
                          InferenceOptions(score_thr=0.4))
    truth = read_json(context.annotations, 'a COCO file')
    pictures, titles = [], []
    for entry in truth['images'][:6]:
        image = read_image(context.data_dir / 'val' / entry['file_name'])
        points = np.array([annotation['keypoints'] for annotation in truth['annotations']
                           if annotation['image_id'] == entry['id']], float).reshape(-1, 17, 3)
        pictures.append(draw_poses(image.copy(), points[..., :2], points[..., 2] > 0,
                                   predictor.meta['skeleton_links']))
        prediction, = predictor([image])
        pictures.append(predictor.draw(image, prediction))
        titles += ['ground truth', 'prediction']
    path = context.work_dir / 'predictions.png'
    write_image(path, make_grid(pictures, 4, titles=titles))
    return dict(picture=path)


STAGES = [
    Stage('data', 'Sample images', make_data, lambda c: [c.annotations]),
    Stage('train', 'Training', train, lambda c: [c.train_dir / 'last_checkpoint']),
    Stage('evaluate', 'Evaluation on held-out images (pycocotools)', evaluate),
    Stage('draw', 'Predictions beside ground truth', draw,
          lambda c: [c.work_dir / 'predictions.png']),
]


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(
        __doc__, 'stages: ' + ', '.join(f'{stage.name} ({stage.title})' for stage in STAGES))
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/quickstart_pose'))
    parser.add_argument('--data-dir', type=Path, default=Path('data/sample_figures'))
    parser.add_argument('--config', type=Path, default=CONFIG)
    parser.add_argument('--train-images', type=arguments.positive_int, default=400,
                        help='default: 400')
    parser.add_argument('--val-images', type=arguments.positive_int, default=100,
                        help='default: 100')
    parser.add_argument('--fresh', action='store_true', help='repeat what is done; the training '
                        'starts anew')
    parser.add_argument('--only', nargs='+', metavar='STAGE', help='run these stages, done or not')
    add_cfg_options(parser)
    return parser.parse_args()


def main() -> int:
    """Run the tool."""
    args = parse_args()
    check_folder(args.work_dir)
    check_folder(args.data_dir, '--data-dir')
    overrides = [f'{key}={value}' for key, value in (args.cfg_options or {}).items()]
    context = Context(args.config, args.work_dir.absolute(), args.data_dir.absolute(),
                      args.train_images, args.val_images, overrides)
    options = dict(config=args.config.read_text(), train=args.train_images, val=args.val_images,
                   overrides=overrides)
    runner = StageRunner(STAGES, context.work_dir, options)
    runner.load(args.fresh)
    if 'train' not in runner.state['stages'] and context.train_dir.exists():
        # a training of other options must not be continued
        (context.train_dir / 'last_checkpoint').unlink(missing_ok=True)
        for path in context.train_dir.glob('best_*.pth'):
            path.unlink()
    runner.run(context, args.only)
    print()
    print(runner.summary('Quickstart: YOLO-NAS-Pose-N on generated figures'))
    return 0


if __name__ == '__main__':
    run_main(main)
