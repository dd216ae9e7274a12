"""Judging a fine-tuned detector: scores, pictures, the next commands."""
import os
import shlex
from pathlib import Path
from typing import Any, Dict, List, Optional

from mmyolonas.utils.files import read_json, write_json, write_text
from mmyolonas.utils.stages import Results
from mmyolonas.workflows.finetune.task import Finetuning

_PREDICTION_SCORE = 0.01  # of the config's test_cfg, as tools/test.py evaluates


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
        split = split_of(cfg, name)
        table = box_table(split, classes)
        found = detections_of(predictor, split)
        report = evaluate_detections(name, split.data, table, found, classes, threshold)
        threshold = report.threshold
        reports[name] = report
    folder = task.work_dir / 'evaluation'
    pictures = draw_evaluation(report, split, table, found, classes, folder)
    write_json(folder / 'report.json', {name: item.to_dict() for name, item in reports.items()})
    write_reports(task, checkpoint, reports, pictures)
    return {'AP': report.ap, 'AP50': report.ap50, 'threshold': report.threshold,
            'precision': report.precision, 'recall': report.recall, 'report': task.report}


def split_of(cfg: Any, name: str):
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


def write_reports(task: Finetuning, checkpoint: Path, reports: dict,
                  pictures: List[Path]) -> None:
    """Print the report, and write it as Markdown and as a page."""
    from mmyolonas.workflows.finetune.page import write_page
    *_, report = reports.values()
    commands = next_commands(task, report.threshold)
    page = write_page(task, checkpoint, reports, pictures, commands)
    text = report_text(task, checkpoint, reports, [page, *pictures], commands)
    write_text(task.report, text)
    print(text, flush=True)


def report_text(task: Finetuning, checkpoint: Path, reports: dict,
                pictures: List[Path], commands: List[str]) -> str:
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
              *commands, '```', '']
    return '\n'.join(lines)


def next_commands(task: Finetuning, threshold: Optional[float] = None) -> List[str]:
    """Return the commands that draw predictions, export, quantise, and complete the 8-bit file."""
    from mmyolonas.utils.configs import installed_config
    config, checkpoint = str(task.config), str(task.checkpoint())
    kind = 'pose' if task.is_pose else 'detection'
    deploy = installed_config(f'mmyolonas::deploy/{kind}_onnxruntime_static.py').resolve()
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
    return split_of(load_config(str(task.config)), 'val').paths[0]


def _short(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith('..') else relative
