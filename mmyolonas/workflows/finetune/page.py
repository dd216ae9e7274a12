"""The report of a fine-tuning as one HTML file."""
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

from mmyolonas.utils.files import read_json
from mmyolonas.workflows.finetune.task import Finetuning

_TITLES = dict(
    data='counts, sizes and places', samples='training images with their labels',
    alike='images that look the same', keypoints='labels of the key points',
    poses='training images with their key points', predictions='labels beside predictions',
    mistakes='the worst mistakes: labels green, mistakes red')
_SHOWN = ('predictions', 'mistakes')  # the other pictures are charts of the page itself


def write_page(task: Finetuning, checkpoint: Path, reports: Dict[str, Any],
               pictures: Sequence[Path], commands: Sequence[str]) -> Path:
    """Write ``report.html`` of a fine-tuning.

    Args:
        task (Finetuning): The task; its data stage and training are done.
        checkpoint (Path): What was judged.
        reports (dict): A ``DetectionReport`` or ``PoseReport`` of 'val' and perhaps 'test'.
        pictures (Sequence[Path]): Of the evaluation.
        commands (Sequence[str]): The next ones.

    Returns:
        Path: The page.
    """
    from mmyolonas.utils.errors import UserError
    from mmyolonas.visualization import html_report as html
    from mmyolonas.visualization.curves import TrainingLog, read_log
    *_, report = reports.values()
    data = read_json(task.work_dir / 'data' / 'report.json', 'a report on the data')
    try:
        log = read_log(task.train_dir)
    except UserError:  # trained with other back ends
        log = TrainingLog()
    kind = 'coco/AP' if task.is_pose else 'coco/bbox_mAP'
    half = 'coco/AP .5' if task.is_pose else 'coco/bbox_mAP_50'
    folder = task.work_dir / 'data'
    values = dict(
        title=f'Fine-tuning on {task.data.name}',
        subtitle=f'{checkpoint}, {report.images} images ({report.split})',
        numbers=_numbers(report, task.is_pose), sentences=_sentences(reports),
        data=dict(_data_rows(data), warnings=data['warnings'], notes=data['notes'],
                  pictures=[html.embedded(folder / f'{name}.png', title)
                            for name, title in _TITLES.items() if name not in _SHOWN
                            and (folder / f'{name}.png').is_file()]),
        reasons=data.get('reasons', []),
        curves=html.curve_charts(log, [(kind, 'AP'), (half, 'AP50')]),
        table=html.point_table(report) if task.is_pose else html.class_table(report),
        threshold=(f'At score {report.threshold:.2f}: precision {report.precision:.3f}, recall '
                   f'{report.recall:.3f}, F1 {report.f1:.3f}.'),
        threshold_charts=html.threshold_charts(report),
        confusion=None if task.is_pose else html.confusion_table(
            report, [row.name for row in report.classes]),
        pictures=[html.embedded(path, _TITLES[path.stem]) for path in pictures
                  if path.stem in _SHOWN],
        commands=list(zip(('Draw predictions:', 'Export:', 'Quantise:',
                           'Complete the 8-bit file:'), commands)))
    html.write_html(task.page, values)
    return task.page


def _numbers(report: Any, pose: bool) -> List[Tuple[str, str]]:
    names = [('OKS AP' if pose else 'AP', report.ap), ('AP50', report.ap50)]
    names += [('points within 10 %', report.pck10)] if pose else [('AP75', report.ap75)]
    names += [('score threshold', report.threshold), ('precision there', report.precision),
              ('recall there', report.recall)]
    return [(name, f'{value:.2f}' if 'threshold' in name else f'{value:.3f}')
            for name, value in names]


def _sentences(reports: Dict[str, Any]) -> List[str]:
    if len(reports) > 1:
        first = reports['val']
        return [f'On the validation images: AP {first.ap:.3f}, AP50 {first.ap50:.3f}; the '
                'threshold and the checkpoint were chosen there.']
    return ['There is no test split: checkpoint, threshold and scores are of the validation '
            'images, so the scores are a little too good.']


def _data_rows(data: Dict[str, Any]) -> Dict[str, Any]:
    """Return the table of the data's parts."""
    parts = list(data['splits'].values())
    rows = [[label, *(part[key] for part in parts)] for label, key in (
        ('images', 'images'), ('without boxes', 'empty'), ('boxes', 'boxes'))]
    rows += [[name, *(part['boxes_of_class'].get(name, 0) for part in parts)]
             for name in data['classes']]
    return dict(parts=list(data['splits']), rows=rows)
