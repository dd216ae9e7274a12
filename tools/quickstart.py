"""The whole road on generated data: sample images, training, evaluation, pictures.

About twelve minutes on two CPU cores. Each stage is timed and is not repeated when
the tool is called again; an interrupted training continues where it was. A
table with the results is printed and written to summary.md in the work folder.
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
CONFIG = ROOT / 'configs' / 'yolonas' / 'yolonas_s_sample.py'
DEPLOY_CONFIG = str(ROOT / 'configs' / 'deploy' / 'detection_onnxruntime_static.py')
METRIC = 'coco/bbox_mAP'


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
        return self.data_dir / 'annotations' / 'instances_val.json'

    @property
    def cfg_options(self) -> List[str]:
        """list[str]: The options of ``tools/train.py`` and ``tools/test.py``."""
        options = list(self.overrides)
        for loader, split in (('train', 'train'), ('val', 'val'), ('test', 'val')):
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
    from mmyolonas.datasets.samples.sample_data import generate_detection_samples
    generate_detection_samples(str(context.data_dir), context.num_train, context.num_val)
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
    return {'mAP': metrics[METRIC], 'mAP50': metrics[f'{METRIC}_50'],
            'mAP75': metrics[f'{METRIC}_75']}


def draw(context: Context) -> Results:
    """Draw ground truth beside predictions."""
    from mmyolonas.inference.inference import InferenceOptions, Predictor
    from mmyolonas.utils.configs import load_config
    from mmyolonas.utils.images import read_image
    from mmyolonas.visualization import draw_boxes, make_grid
    cfg = load_config(str(context.config))
    predictor = Predictor(cfg, str(context.checkpoint()), InferenceOptions(score_thr=0.4))
    truth = read_json(context.annotations, 'a COCO file')
    numbers = {category['id']: index for index, category in enumerate(truth['categories'])}
    pictures, titles = [], []
    for entry in truth['images'][:6]:
        image = read_image(context.data_dir / 'val' / entry['file_name'])
        found = [a for a in truth['annotations'] if a['image_id'] == entry['id']]
        boxes = np.array([a['bbox'] for a in found], float).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        labels = [numbers[a['category_id']] for a in found]
        pictures.append(draw_boxes(image.copy(), boxes, labels, classes=predictor.classes,
                                   palette=predictor.palette))
        prediction, = predictor([image])
        pictures.append(predictor.draw(image, prediction))
        titles += ['ground truth', 'prediction']
    path = context.work_dir / 'predictions.png'
    write_image(path, make_grid(pictures, 4, titles=titles))
    return dict(picture=path)


def export(context: Context) -> Results:
    """Export to ONNX; accuracy and latency in ONNX Runtime beside PyTorch; a picture."""
    import torch

    from mmyolonas.apis import Runtime
    from mmyolonas.deploy.pipeline import load_model
    from mmyolonas.runtime.latency import network_latency
    from mmyolonas.utils.configs import load_config
    folder, checkpoint = context.work_dir / 'deployed', str(context.checkpoint())
    settings, image = DEPLOY_CONFIG, context.an_image()
    run_tool(
        [str(ROOT / 'tools' / 'deploy.py'), settings, str(context.config), checkpoint, image,
         '--work-dir', str(folder), '--no-picture'],
        context.work_dir / 'export.log', show=r'exporting.*|largest difference.*')
    path, metrics = str(folder / 'end2end.onnx'), folder / 'metrics.json'
    run_tool(
        [str(ROOT / 'tools' / 'test_deployed.py'), settings, str(context.config), '--model', path,
         '--checkpoint', checkpoint, '--work-dir', str(folder / 'evaluation'), '--out',
         str(metrics), '--cfg-options', *context.cfg_options],
        context.work_dir / 'export_evaluation.log', show=r'Epoch\(test\) \[ *\d+/\d+\]  +eta.*')
    scores = read_json(metrics, 'a file of metrics')
    model = load_model(load_config(str(context.config)), checkpoint)
    with Runtime(path, num_threads=torch.get_num_threads()) as runtime:
        times = network_latency(runtime, model, runtime.preprocess([image])[0])
        picture = folder / 'runtime.png'
        write_image(picture, runtime(image).above(0.4).draw(image))
    return {'mAP PyTorch': scores['PyTorch'][METRIC], 'mAP ONNX Runtime': scores[path][METRIC],
            'ms PyTorch': round(times['PyTorch'], 1),
            'ms ONNX Runtime': round(times['onnxruntime'], 1), 'picture': picture}


def int8(context: Context) -> Results:
    """Make 8-bit files: all layers, and a choice of them; AP, latency, size, charts, a picture."""
    folder = context.work_dir / 'int8'
    run_tool(
        [str(ROOT / 'tools' / 'quantize.py'), str(context.config), str(context.checkpoint()),
         '--method', 'selective', '--cheap', '--work-dir', str(folder), '--calib-images', '16',
         '--analysis-images', '16', '--cfg-options', *context.cfg_options],
        context.work_dir / 'int8.log', show=r'(?:calibration|sensitivity|profile|switching).*')
    results: Results = {}
    for row in read_json(folder / 'report.json', 'a report')['rows']:
        results[row['name']] = (f'AP {row["ap"]:.1f}, {row["latency_ms"]:.1f} ms, '
                                f'{row["size_mb"]:.1f} MB')
    complete = context.work_dir / 'deployed_int8'
    run_tool(
        [str(ROOT / 'tools' / 'deploy.py'), DEPLOY_CONFIG, str(context.config),
         str(context.checkpoint()), context.an_image(), '--onnx', str(folder / 'selective.onnx'),
         '--work-dir', str(complete)],
        context.work_dir / 'int8_export.log', show=r'.* found, those above.*')
    return {**results, 'with suppression': complete / 'end2end.onnx',
            'sensitivity': folder / 'sensitivity.png', 'report': folder / 'report.png'}


def curves(context: Context) -> Results:
    """Plot loss, learning rate and validation."""
    from mmyolonas.visualization import plot_curves, read_log
    path = context.work_dir / 'curves.png'
    plot_curves({'training': read_log(context.train_dir)}, path)
    return dict(picture=path)


#: To add a stage, write a function of the context and put it here.
STAGES = [
    Stage('data', 'Sample images', make_data, lambda c: [c.annotations]),
    Stage('train', 'Training', train, lambda c: [c.train_dir / 'last_checkpoint']),
    Stage('evaluate', 'Evaluation on held-out images (pycocotools)', evaluate),
    Stage('draw', 'Predictions beside ground truth', draw,
          lambda c: [c.work_dir / 'predictions.png']),
    Stage('export', 'Export to ONNX, beside PyTorch', export,
          lambda c: [c.work_dir / 'deployed' / 'runtime.png']),
    Stage('int8', 'INT8: post-training quantisation and selection', int8,
          lambda c: [c.work_dir / 'int8' / 'report.json',
                     c.work_dir / 'deployed_int8' / 'end2end.onnx']),
    Stage('curves', 'Training curves', curves, lambda c: [c.work_dir / 'curves.png']),
]


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(
        __doc__, 'stages: ' + ', '.join(f'{stage.name} ({stage.title})' for stage in STAGES))
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/quickstart'))
    parser.add_argument('--data-dir', type=Path, default=Path('data/sample_shapes'))
    parser.add_argument('--config', type=Path, default=CONFIG)
    parser.add_argument('--train-images', type=arguments.positive_int, default=400,
                        help='default: 400')
    parser.add_argument('--val-images', type=arguments.positive_int, default=100,
                        help='default: 100')
    parser.add_argument('--min-map50', type=arguments.share, default=0.85,
                        help='fail if the mAP at IoU 0.5 '
                        'is below (default: 0.85)')
    parser.add_argument('--fresh', action='store_true', help='repeat what is done; the training '
                        'starts anew')
    parser.add_argument('--only', nargs='+', metavar='STAGE', help='run these stages, done or not')
    add_cfg_options(parser)
    return parser.parse_args()


def overrides(cfg_options: dict) -> List[str]:
    """Return parsed ``--cfg-options`` as arguments again."""
    return [f'{key}={value}' for key, value in (cfg_options or {}).items()]


def main() -> int:
    """Run the tool."""
    args = parse_args()
    check_folder(args.work_dir)
    check_folder(args.data_dir, '--data-dir')
    context = Context(args.config, args.work_dir.absolute(), args.data_dir.absolute(),
                      args.train_images, args.val_images, overrides(args.cfg_options))
    options = dict(config=args.config.read_text(), train=args.train_images, val=args.val_images,
                   overrides=context.overrides)
    runner = StageRunner(STAGES, context.work_dir, options)
    runner.load(args.fresh)
    if 'train' not in runner.state['stages'] and context.train_dir.exists():
        # a training of other options must not be continued
        (context.train_dir / 'last_checkpoint').unlink(missing_ok=True)
        for path in context.train_dir.glob('best_*.pth'):
            path.unlink()
    runner.run(context, args.only)
    print()
    print(runner.summary('Quickstart: YOLO-NAS-S on generated shapes'))
    score = runner.results('evaluate').get('mAP50')
    if score is not None and score < args.min_map50:
        raise UserError(f'mAP at IoU 0.5 is {score:.3f}, below {args.min_map50}.')
    return 0


if __name__ == '__main__':
    run_main(main)
