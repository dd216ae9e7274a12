"""What the quickstarts of all tasks share: where things lie, training, evaluation, pictures."""
import argparse
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Sequence

import numpy as np

from mmyolonas.run import find_script
from mmyolonas.utils import arguments
from mmyolonas.utils.checkpoints import last_checkpoint
from mmyolonas.utils.cli import add_cfg_options
from mmyolonas.utils.configs import installed_config
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import write_image
from mmyolonas.utils.outputs import check_folder
from mmyolonas.utils.stages import Results, Stage, StageRunner, last_metrics, run_tool


@dataclass(frozen=True)
class Task:
    """What is different from task to task.

    Args:
        title: Of the summary.
        config: Config of the model, below ``configs``.
        work_dir, data_dir: Folders, unless others are named.
        annotations: File of annotations, without ``_val.json``.
        scores: What an evaluation reports: its label and the metric's name. The best
            checkpoint is the one with the best score of the first.
        generate: Draws so many images for training and for evaluation into a folder.
        draw_truth: Draws the annotations of an image into it.
        more: Stages behind those that all tasks have.
    """
    title: str
    config: str
    work_dir: str
    data_dir: str
    annotations: str
    scores: Dict[str, str]
    generate: Callable[[str, int, int], Any]
    draw_truth: Callable[[np.ndarray, List[dict], dict, Any], np.ndarray]
    more: Sequence[Stage] = ()

    @property
    def stages(self) -> List[Stage]:
        """list[Stage]: All stages. To add one, write a function of the context."""
        return [*STAGES, *self.more]

    @property
    def metric(self) -> str:
        """str: What the best checkpoint is chosen by."""
        return next(iter(self.scores.values()))


@dataclass
class Context:
    """What every stage is given.

    Args:
        task: What is different from task to task.
        config: Config of the model.
        work_dir: Folder of all results.
        data_dir: Folder of the generated images.
        num_train, num_val: Number of generated images.
        overrides: Settings of the config to override, as for ``--cfg-options``.
    """
    task: Task
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
        return self.data_dir / 'annotations' / f'{self.task.annotations}_val.json'

    @property
    def cfg_options(self) -> List[str]:
        """list[str]: The options of ``tools/train.py`` and ``tools/test.py``."""
        options = list(self.overrides)
        for loader in ('train', 'val', 'test'):
            options.append(f'{loader}_dataloader.dataset.data_root={self.data_dir}/')
            if loader != 'train':
                options.append(f'{loader}_evaluator.ann_file={self.annotations}')
        return options

    def an_image(self) -> str:
        """Return the first held-out image."""
        return str(sorted((self.data_dir / 'val').glob('*.*'))[0])

    def checkpoint(self) -> Path:
        """Return the best checkpoint, or the last if none was validated.

        Raises:
            UserError: There is none.
        """
        name = self.task.metric.replace('/', '_')
        best = sorted(self.train_dir.glob(f'best_{name}_epoch_*.pth'),
                      key=lambda path: path.stat().st_mtime)
        if best:
            return best[-1]
        last = last_checkpoint(str(self.train_dir))
        if last is None:
            raise UserError('there is no checkpoint yet; run the training first.')
        return last

    def run(self, tool: str, arguments: Sequence, log: str, show: str) -> None:
        """Run a tool with ``--cfg-options`` of these images.

        Args:
            tool (str): Its name in ``tools``.
            arguments (Sequence): Its command line.
            log (str): Name of the file for its output.
            show (str): Lines to show; see :func:`mmyolonas.utils.stages.run_tool`.
        """
        run_tool([str(find_script(f'mmyolonas::tools/{tool}')), *map(str, arguments)],
                 self.work_dir / f'{log}.log', show=show)


def make_data(context: Context) -> Results:
    """Draw the sample images."""
    context.task.generate(str(context.data_dir), context.num_train, context.num_val)
    return dict(images=f'{context.num_train} + {context.num_val} held out',
                folder=context.data_dir)


def train(context: Context) -> Results:
    """Train, or continue an interrupted training."""
    context.run('train.py', [context.config, '--work-dir', context.train_dir, '--resume',
                             '--cfg-options', *context.cfg_options],
                'train', show=r'Epoch\(\w+\).*|no GPU: .*|resumed epoch.*')
    return dict(checkpoint=context.checkpoint())


def evaluate(context: Context) -> Results:
    """Evaluate the best checkpoint on the held-out images with pycocotools."""
    folder = context.work_dir / 'evaluation'
    context.run('test.py', [context.config, context.checkpoint(), '--work-dir', folder,
                            '--cfg-options', *context.cfg_options],
                'evaluation', show=r'Epoch\(test\) \[ *\d+/\d+\]  +eta.*')
    metrics = last_metrics(folder)
    return {label: metrics[name] for label, name in context.task.scores.items()}


def draw(context: Context) -> Results:
    """Draw ground truth beside predictions."""
    from mmyolonas.inference.inference import InferenceOptions, Predictor
    from mmyolonas.utils.configs import load_config
    from mmyolonas.utils.images import read_image
    from mmyolonas.visualization import make_grid
    predictor = Predictor(load_config(str(context.config)), str(context.checkpoint()),
                          InferenceOptions(score_thr=0.4))
    truth = json.loads(context.annotations.read_text())
    pictures, titles = [], []
    for entry in truth['images'][:6]:
        image = read_image(context.data_dir / 'val' / entry['file_name'])
        found = [a for a in truth['annotations'] if a['image_id'] == entry['id']]
        pictures.append(context.task.draw_truth(image.copy(), found, truth, predictor))
        prediction, = predictor([image])
        pictures.append(predictor.draw(image, prediction))
        titles += ['ground truth', 'prediction']
    path = context.work_dir / 'predictions.png'
    write_image(path, make_grid(pictures, 4, titles=titles))
    return dict(picture=path)


#: What every task has.
STAGES = [
    Stage('data', 'Sample images', make_data, lambda c: [c.annotations]),
    Stage('train', 'Training', train, lambda c: [c.train_dir / 'last_checkpoint']),
    Stage('evaluate', 'Evaluation on held-out images (pycocotools)', evaluate),
    Stage('draw', 'Predictions beside ground truth', draw,
          lambda c: [c.work_dir / 'predictions.png']),
]


def stage_list(task: Task) -> str:
    """Return the stages of a task in one line, for ``--help``."""
    return 'stages: ' + ', '.join(f'{stage.name} ({stage.title})' for stage in task.stages)


def add_options(parser: argparse.ArgumentParser, task: Task) -> None:
    """Add the options of a quickstart."""
    parser.add_argument('--work-dir', type=Path, default=Path(task.work_dir))
    parser.add_argument('--data-dir', type=Path, default=Path(task.data_dir))
    parser.add_argument('--config', type=Path,
                        default=installed_config(f'mmyolonas::{task.config}'))
    parser.add_argument('--train-images', type=arguments.positive_int, default=400,
                        help='default: 400')
    parser.add_argument('--val-images', type=arguments.positive_int, default=100,
                        help='default: 100')
    parser.add_argument('--fresh', action='store_true', help='repeat what is done; the training '
                        'starts anew')
    parser.add_argument('--only', nargs='+', metavar='STAGE', help='run these stages, done or not')
    add_cfg_options(parser)


def run(task: Task, args: argparse.Namespace) -> StageRunner:
    """Run the stages that are not done.

    Args:
        task (Task): What to train for.
        args (Namespace): Values of :func:`add_options`.

    Returns:
        StageRunner: With the results.
    """
    check_folder(args.work_dir)
    check_folder(args.data_dir, '--data-dir')
    overrides = [f'{key}={value}' for key, value in (args.cfg_options or {}).items()]
    context = Context(task, args.config, args.work_dir.absolute(), args.data_dir.absolute(),
                      args.train_images, args.val_images, overrides)
    runner = StageRunner(task.stages, context.work_dir, dict(
        config=args.config.read_text(), train=args.train_images, val=args.val_images,
        overrides=overrides))
    runner.load(args.fresh)
    if 'train' not in runner.state['stages'] and context.train_dir.exists():
        # a training of other options must not be continued
        (context.train_dir / 'last_checkpoint').unlink(missing_ok=True)
        for path in context.train_dir.glob('best_*.pth'):
            path.unlink()
    runner.run(context, args.only)
    return runner
