"""Looking at the data of a pose model's fine-tuning, and judging the model."""
from pathlib import Path
from typing import Any, Dict, List

import numpy as np

from mmyolonas.utils.files import write_json, write_text
from mmyolonas.utils.stages import Results
from mmyolonas.workflows.finetune.data_stage import bad_images, keep_reasons, machine
from mmyolonas.workflows.finetune.evaluation import split_of, write_reports
from mmyolonas.workflows.finetune.task import Finetuning

_PREDICTION_SCORE = 0.01


def look_at_poses(task: Finetuning) -> Results:
    """Read and check the data, draw what was found, choose settings, write the config."""
    from mmyolonas.datasets.formats.keypoints import read_keypoints
    from mmyolonas.datasets.formats.layouts import read_layout
    from mmyolonas.datasets.inspection.poses import inspect_poses
    from mmyolonas.datasets.inspection.report import inspect_data
    from mmyolonas.visualization.data_report import draw_data_report
    from mmyolonas.visualization.pose_pictures import draw_pose_data
    from mmyolonas.workflows.finetune.pose_config import base_pose_model, write_pose_config
    from mmyolonas.workflows.finetune.pose_settings import choose_pose_settings
    from mmyolonas.workflows.finetune.start_weights import read_start
    start = read_start(task.options.pretrained) if task.options.pretrained else None
    layout = read_layout(task.data, task.format, poses=True)
    keypoints = read_keypoints(layout.splits.values(), layout.notes)
    report = inspect_data(layout)
    poses = inspect_poses(report, keypoints)
    text = report.to_text() + '\n\n' + poses.to_text()
    print(text, flush=True)
    folder = task.work_dir / 'data'
    write_json(folder / 'report.json', dict(report.to_dict(), keypoints=poses.to_dict()))
    write_text(folder / 'report.txt', text + '\n')
    bad_images(task, report)
    pictures = draw_data_report(report, folder) + draw_pose_data(report, poses, folder)
    settings = choose_pose_settings(
        report, poses, task.options, start=start, processes=task.crew.size,
        **machine(base_pose_model(task.options.model)))
    keep_reasons(folder, settings.reasons)
    name = _object_name(report)
    splits = {part: _written(report, part, name, keypoints, folder) for part in report.splits}
    write_pose_config(task.config, name, keypoints, splits, settings)
    return dict(images=' + '.join(f'{len(part.scanned)} {part_name}'
                                  for part_name, part in report.splits.items()),
                keypoints=len(keypoints.names), warnings=len(report.warnings),
                pictures=', '.join(path.name for path in pictures), config=task.config)


def _object_name(report: Any) -> str:
    """Return what the objects are called: the class, or 'object' where there are several."""
    return report.classes[0] if len(report.classes) == 1 else 'object'


def _written(report: Any, name: str, label: str, keypoints: Any, folder: Path) -> Any:
    """Write the annotations of a part with one category and repaired points; return the part."""
    from mmyolonas.datasets.inspection.box_table import cleaned_split
    part = report.splits[name]
    split = cleaned_split(part.split, part.table, report.classes, part.bad_images)
    for annotation in split.data['annotations']:
        annotation['category_id'] = 1
    category: Dict[str, Any] = dict(id=1, name=label, keypoints=list(keypoints.names),
                                    skeleton=[[a + 1, b + 1] for a, b in keypoints.links])
    split.data['categories'] = [category]
    split.ann_file = folder / f'{name}.json'
    write_json(split.ann_file, split.data)
    return split


def evaluate_pose_model(task: Finetuning) -> Results:
    """Judge the best checkpoint: OKS AP, PCK, threshold, mistakes; write and draw them.

    The threshold is chosen on the validation images; everything else is of the test images
    where there are any.
    """
    from mmyolonas.evaluation.pose_report import evaluate_poses
    from mmyolonas.inference.inference import InferenceOptions, Predictor
    from mmyolonas.utils.configs import load_config
    from mmyolonas.visualization.pose_pictures import draw_pose_evaluation
    cfg = load_config(str(task.config))
    checkpoint = task.checkpoint()
    predictor = Predictor(cfg, str(checkpoint), InferenceOptions(score_thr=_PREDICTION_SCORE))
    keypoints = _keypoints_of(cfg)
    reports, threshold = {}, None
    for name in ('val', 'test'):
        if name == 'test' and cfg.test_evaluator[0].ann_file == cfg.val_evaluator[0].ann_file:
            break
        split = split_of(cfg, name)
        found = poses_of(predictor, split)
        report = evaluate_poses(name, split.data, found, keypoints.names, cfg.sigmas,
                                str(split.ann_file), threshold)
        threshold = report.threshold
        reports[name] = report
    folder = task.work_dir / 'evaluation'
    pictures = draw_pose_evaluation(report, split, found, keypoints, folder)
    write_json(folder / 'report.json', {name: item.to_dict() for name, item in reports.items()})
    write_reports(task, checkpoint, reports, pictures)
    return {'AP': report.ap, 'AP50': report.ap50, 'PCK@0.1': report.pck10,
            'threshold': report.threshold, 'precision': report.precision,
            'recall': report.recall, 'report': task.report}


def _keypoints_of(cfg: Any) -> Any:
    from mmyolonas.datasets.formats.keypoints import Keypoints
    names = [point['name'] for point in cfg.points]
    links = [tuple(names.index(name) for name in line['link'])
             for line in cfg.metainfo.skeleton_info.values()]
    return Keypoints(tuple(names), True, None, tuple(links))


def poses_of(predictor: Any, split: Any) -> List[Dict[str, Any]]:
    """Return what a predictor finds in the images of a part, for ``evaluate_poses``.

    Args:
        predictor (Predictor): The pose model.
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
        points = np.concatenate([prediction.keypoints, prediction.keypoint_scores[..., None]], -1)
        found += [dict(image_id=image['id'], label=0, score=float(score), bbox=box,
                       keypoints=pose.ravel().astype(float).tolist())
                  for box, score, pose in zip(boxes.tolist(), prediction.scores, points)]
    return found
