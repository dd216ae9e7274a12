"""From a folder of labelled images to a trained and judged detector."""
import logging
import os
import re
import shlex
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional

from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import explain_full_disk, read_json, write_json, write_text
from mmyolonas.utils.stages import Results, Stage, StageRunner
from mmyolonas.workflows.finetune.finetune_settings import FinetuneOptions, choose_settings

_SHOWN = re.compile(r'Epoch\(|[Rr]esumed|best checkpoint')
_PREDICTION_SCORE = 0.01  # of the config's test_cfg, as tools/test.py evaluates
_MEMORY_SHARE = 0.8


@dataclass
class Finetuning:
    """What to train on, how, and where the results go.

    Args:
        data: Folder of the images and labels, or a ``data.yaml`` or COCO JSON.
        work_dir: Folder of all results; a second run there goes on.
        format: 'coco', 'yolo', 'voc' or 'auto'.
        options: Settings that are not left to the data.
        drop_bad_images: Whether images that are missing or damaged are left
            out; if not, they are an error.
    """
    data: Path
    work_dir: Path
    format: str = 'auto'
    options: FinetuneOptions = field(default_factory=FinetuneOptions)
    drop_bad_images: bool = False

    @property
    def config(self) -> Path:
        """Path: The config, written once."""
        return self.work_dir / 'config.py'

    @property
    def train_dir(self) -> Path:
        """Path: Work folder of the training."""
        return self.work_dir / 'train'

    @property
    def report(self) -> Path:
        """Path: The results as text."""
        return self.work_dir / 'report.md'

    def checkpoint(self) -> Path:
        """Return the checkpoint that was best on the validation images.

        Returns:
            Path: The best, else the last one.

        Raises:
            UserError: There is none.
        """
        from mmyolonas.utils.checkpoints import last_checkpoint
        best = sorted(self.train_dir.glob('best_coco_bbox_mAP_epoch_*.pth'),
                      key=lambda path: path.stat().st_mtime)
        path = best[-1] if best else last_checkpoint(str(self.train_dir))
        if path is None:
            raise UserError(f'there is no checkpoint in {self.train_dir} yet.')
        return path


def finetune(task: Finetuning, fresh: bool = False) -> Dict[str, Any]:
    """Look at the data, write a config, train, evaluate and report.

    Called again with the same arguments it repeats nothing and goes on with an
    interrupted training.

    Args:
        task (Finetuning): What to do.
        fresh (bool): Whether to start anew; an earlier training is kept under
            another name. Defaults to False.

    Returns:
        dict: ``config``, ``checkpoint``, ``threshold``, ``ap``, ``ap50`` and
        ``commands``, the next ones to type.

    Raises:
        UserError, DataError: Something is wrong with the data, a file or the
            disk; one sentence that says what to do.
    """
    options = dict(data=str(task.data.absolute()), format=task.format,
                   drop_bad_images=task.drop_bad_images, **asdict(task.options))
    runner = StageRunner(STAGES, task.work_dir, options)
    runner.load(fresh)
    if 'train' not in runner.state['stages']:
        _put_aside(task.train_dir)
    advice = 'What was done is kept: make room and give the same command again to go on.'
    with explain_full_disk(task.work_dir, advice):
        runner.run(task)
        runner.summary(f'Fine-tuning on {task.data}')
    found = runner.results('evaluate')
    commands = next_commands(task, found['threshold'])
    return dict(config=task.config, checkpoint=task.checkpoint(), threshold=found['threshold'],
                ap=found['AP'], ap50=found['AP50'], commands=commands)


def _put_aside(folder: Path) -> None:
    """Rename a training of other options, which must not be continued."""
    if folder.exists():
        number = 1
        while (other := folder.with_name(f'{folder.name}_before_{number}')).exists():
            number += 1
        folder.rename(other)
        print(f'the earlier training is kept in {other}')


def look_at_data(task: Finetuning) -> Results:
    """Read and check the data, draw what was found, choose settings, write the config."""
    from mmyolonas.datasets.formats.layouts import read_layout
    from mmyolonas.datasets.inspection.report import inspect_data
    from mmyolonas.utils.data_error import DataError
    from mmyolonas.visualization.data_report import draw_data_report
    from mmyolonas.workflows.finetune.finetune_config import write_config
    from mmyolonas.workflows.finetune.start_weights import read_start
    # all of it: a damaged file is found out before an hour of looking at images
    start = read_start(task.options.pretrained) if task.options.pretrained else None
    report = inspect_data(read_layout(task.data, task.format))
    print(report.to_text(), flush=True)
    folder = task.work_dir / 'data'
    write_json(folder / 'report.json', report.to_dict())
    write_text(folder / 'report.txt', report.to_text() + '\n')
    bad = [part.scanned[i].problem for part in report.splits.values() for i in part.bad_images]
    if bad and not task.drop_bad_images:
        raise DataError(f'{len(bad)} images cannot be used, the first: {bad[0]}. Repair them, or '
                        'leave them out with --drop-bad-images')
    pictures = draw_data_report(report, folder)
    splits = _annotation_files(report, folder)
    settings = choose_settings(report, task.options, start=start,
                               **_machine(task.options.model))
    for reason in settings.reasons:
        print(f'  {reason}')
    write_config(task.config, report.classes, splits, settings)
    return dict(images=' + '.join(f'{len(part.scanned)} {name}'
                                  for name, part in report.splits.items()),
                classes=len(report.classes), warnings=len(report.warnings),
                pictures=', '.join(path.name for path in pictures), config=task.config)


def _annotation_files(report, folder: Path) -> dict:
    """Write annotations that are not files yet or had to be corrected; return all parts."""
    from mmyolonas.datasets.inspection.box_table import cleaned_split
    splits = {}
    for name, part in report.splits.items():
        split = part.split
        if split.ann_file is None or part.table.problems or part.bad_images:
            split = cleaned_split(split, part.table, report.classes, part.bad_images)
            split.ann_file = folder / f'{name}.json'
            write_json(split.ann_file, split.data)
            if part.split.ann_file is not None:
                print(f'  {name}: corrected annotations are in {split.ann_file}; '
                      f'{part.split.ann_file} is as it was')
        splits[name] = split
    return splits


def _machine(model: str) -> Dict[str, Any]:
    """Return what the settings depend on: GPU or not, pixels that fit into memory."""
    import torch

    from mmyolonas.utils.building import build_model
    from mmyolonas.utils.memory import available_memory, saved_bytes_per_pixel, training_memory
    from mmyolonas.workflows.finetune.finetune_config import base_model
    gpu = torch.cuda.is_available()
    net = build_model(base_model(model))
    free = _MEMORY_SHARE * available_memory('cuda:0' if gpu else 'cpu') - training_memory(net, 0)
    per_million = training_memory(net, 10**6, saved_bytes_per_pixel(net)) - training_memory(net, 0)
    return dict(gpu=gpu, max_pixels=int(max(0, free) / per_million * 10**6))


def train(task: Finetuning) -> Results:
    """Train with the config, or go on."""
    from mmyolonas.engine.data_check import check_data
    from mmyolonas.engine.running import apply_amp, apply_resume, build_runner
    from mmyolonas.utils.checkpoints import last_checkpoint
    from mmyolonas.utils.configs import load_config
    cfg = load_config(str(task.config))
    cfg.work_dir, cfg.launcher = str(task.train_dir), 'none'
    apply_amp(cfg)
    if last_checkpoint(cfg.work_dir) is not None:
        apply_resume(cfg, 'auto')
    check_data(cfg, ('train_dataloader', 'val_dataloader'))
    cfg.log_level = 'WARNING'  # mmengine would print the machine and the whole config
    if 'visualizer' in cfg:
        # of one name there is one in a process, and it would write to the first one's folder
        cfg.visualizer.name = f'finetune_{time.time_ns()}'
    runner = build_runner(cfg)
    _show_progress(runner.logger)
    runner.train()
    return dict(checkpoint=task.checkpoint())


def _show_progress(logger: logging.Logger) -> None:
    """Let a runner's logger write everything to its file and print progress and warnings."""
    logger.setLevel(logging.INFO)
    for handler in logger.handlers:
        handler.setLevel(logging.INFO)
        if not isinstance(handler, logging.FileHandler):
            handler.addFilter(lambda record: record.levelno >= logging.WARNING
                              or bool(_SHOWN.search(record.getMessage())))


def evaluate(task: Finetuning) -> Results:
    """Judge the best checkpoint: scores, threshold, confusion, mistakes; write and draw them.

    The threshold is chosen on the validation images; everything else is of the
    test images where there are any.
    """
    from mmyolonas.datasets.inspection.box_table import box_table
    from mmyolonas.evaluation.detection_report import evaluate_detections
    from mmyolonas.inference.inference import InferenceOptions, Predictor
    from mmyolonas.utils.configs import load_config
    from mmyolonas.visualization.evaluation_report import draw_evaluation
    cfg = load_config(str(task.config))
    checkpoint = task.checkpoint()
    predictor = Predictor(cfg, str(checkpoint), InferenceOptions(score_thr=_PREDICTION_SCORE))
    classes = list(cfg.classes)
    reports, threshold, split = {}, None, None
    for name in ('val', 'test'):
        if name == 'test' and cfg.test_evaluator.ann_file == cfg.val_evaluator.ann_file:
            break
        split = _split_of(cfg, name)
        table = box_table(split, classes)
        found = detections_of(predictor, split)
        report = evaluate_detections(name, split.data, table, found, classes, threshold)
        threshold = report.threshold
        reports[name] = report
    folder = task.work_dir / 'evaluation'
    pictures = draw_evaluation(report, split, table, found, classes, folder)
    write_json(folder / 'report.json', {name: item.to_dict() for name, item in reports.items()})
    text = _report_text(task, checkpoint, reports, pictures)
    write_text(task.report, text)
    print(text, flush=True)
    return {'AP': report.ap, 'AP50': report.ap50, 'threshold': report.threshold,
            'precision': report.precision, 'recall': report.recall, 'report': task.report}


def _split_of(cfg: Any, name: str):
    """Return a part of the data as the config describes it."""
    from mmyolonas.datasets.formats.coco_split import CocoSplit
    dataset = cfg[f'{name}_dataloader'].dataset
    root = Path(dataset.get('data_root') or '')
    return CocoSplit.read(name, root / dataset.ann_file, root / dataset.data_prefix.img)


def detections_of(predictor, split) -> List[Dict[str, Any]]:
    """Return what a predictor finds in the images of a part, for ``evaluate_detections``.

    Args:
        predictor (Predictor): The model.
        split (CocoSplit): The part.
    """
    from mmyolonas.utils.images import read_image
    from mmyolonas.utils.progress import track
    found = []
    for image, path in track(list(zip(split.data['images'], split.paths)),
                             f'evaluating {split.name}'):
        prediction, = predictor([read_image(path)])
        boxes = prediction.boxes.astype(float)
        boxes[:, 2:] -= boxes[:, :2]
        found += [dict(image_id=image['id'], label=int(label), score=float(score), bbox=box)
                  for box, score, label in zip(boxes.tolist(), prediction.scores,
                                               prediction.labels)]
    return found


def _report_text(task: Finetuning, checkpoint: Path, reports: dict,
                 pictures: List[Path]) -> str:
    """Return the report in Markdown."""
    *_, report = reports.values()
    lines = [f'# {task.data}', '', report.to_text(), '']
    if len(reports) > 1:
        first = reports['val']
        lines += [f'On the validation images: AP {first.ap:.3f}, AP50 {first.ap50:.3f}; the '
                  'threshold and the checkpoint were chosen there.', '']
    else:
        lines += ['There is no test split: checkpoint, threshold and scores are of the validation '
                  'images, so the scores are a little too good.', '']
    data = read_json(task.work_dir / 'data' / 'report.json', 'a report on the data')
    lines += [f'- data: {len(data["warnings"])} warnings, see '
              f'{task.work_dir / "data" / "report.txt"}',
              f'- config: {task.config}', f'- checkpoint: {checkpoint}',
              *(f'- {path.stem}: {path}' for path in pictures), '', 'Next:', '', '```shell',
              *next_commands(task, report.threshold), '```', '']
    return '\n'.join(lines)


def next_commands(task: Finetuning, threshold: Optional[float] = None) -> List[str]:
    """Return the commands that draw predictions, export, quantise, and complete the 8-bit file."""
    from mmyolonas.utils.configs import installed_config
    config, checkpoint = str(task.config), str(task.checkpoint())
    deploy = installed_config('mmyolonas::deploy/detection_onnxruntime_static.py').resolve()
    root = deploy.parents[2]
    image = str(_an_image(task))

    def command(tool: str, *arguments: Any) -> str:
        return shlex.join(['python', _short(root / tool), *map(str, arguments)])

    score = ('--score-thr', f'{threshold:.2f}') if threshold is not None else ()
    return [command('demo/image_demo.py', config, checkpoint, Path(image).parent, *score,
                    '--out-dir', task.work_dir / 'drawn'),
            command('tools/deploy.py', _short(deploy), config, checkpoint, image, '--work-dir',
                    task.work_dir / 'deployed'),
            command('tools/quantize.py', config, checkpoint, '--work-dir',
                    task.work_dir / 'int8'),
            command('tools/deploy.py', _short(deploy), config, checkpoint, image, '--onnx',
                    task.work_dir / 'int8' / 'int8.onnx', '--work-dir',
                    task.work_dir / 'deployed_int8')]


def _an_image(task: Finetuning) -> Path:
    from mmyolonas.utils.configs import load_config
    return _split_of(load_config(str(task.config)), 'val').paths[0]


def _short(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith('..') else relative


#: The stages, in order.
STAGES = [
    Stage('data', 'Data', look_at_data, lambda task: [task.config]),
    Stage('train', 'Training', train, lambda task: [task.train_dir / 'last_checkpoint']),
    Stage('evaluate', 'Evaluation', evaluate, lambda task: [task.report]),
]
