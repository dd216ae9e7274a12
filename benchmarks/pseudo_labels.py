"""What pseudo-labels are worth: BCCD with labels for a fifth of its training images.

A teacher is trained on the labelled fifth, labels the rest (thresholds for a precision
on the validation images), and students are trained on both, from scratch and in as many
steps: one for which all that is no label is background, and one that ignores what the
teacher was not sure of (scores from --ignore-above up to the threshold). Printed: AP on the
test images, AP and precision of the pseudo-labels against the hidden labels; with --go-on,
AP of the teacher trained on for as many steps again, with its labelled images alone and
with the pseudo-labels in both ways; with --full, AP with all labels. Stages are timed and
not repeated; a training that was killed is continued.

    python benchmarks/pseudo_labels.py
"""
import argparse
import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional

from mmyolonas.datasets.formats.coco_checks import coco_classes, read_coco_file
from mmyolonas.evaluation.score_thresholds import match_detections
from mmyolonas.utils.cli import add_cfg_options, new_parser, run_main
from mmyolonas.utils.configs import load_config
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import write_json, write_text
from mmyolonas.utils.stages import (
    Results,
    Stage,
    StageRunner,
    best_checkpoint,
    last_metrics,
    run_tool,
)

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / 'configs' / 'pseudo_labels'
METRIC = 'coco/bbox_mAP'


@dataclass
class Context:
    """What every stage is given.

    Args:
        data: Folder with train/, valid/ and test/ in Roboflow's layout.
        work_dir: Folder of all results.
        share: Share of the training images that keep their labels.
        score_options: How sure a label must be, options of tools/pseudo_label.py.
        seed: Which images keep their labels, and the seed of the trainings.
        overrides: Settings of the configs to override.
    """
    data: Path
    work_dir: Path
    share: float
    score_options: List[str]
    seed: int
    overrides: Dict[str, Any]
    configs: Path = CONFIGS

    @property
    def labelled(self) -> Path:
        """Path: Annotations of the labelled images."""
        return self.work_dir / 'labelled.json'

    @property
    def hidden(self) -> Path:
        """Path: True annotations of the others; for judging only."""
        return self.work_dir / 'hidden.json'

    @property
    def pseudo(self) -> Path:
        """Path: The teacher's labels of the others."""
        return self.work_dir / 'pseudo.json'

    def annotations(self, split: str) -> Path:
        """Return the annotation file of a split."""
        return self.data / split / '_annotations.coco.json'

    def config(self, name: str) -> Path:
        """Return the config of 'teacher' or 'student'."""
        return self.configs / f'yolonas_s_bccd_{name}.py'

    def checkpoint(self, name: str) -> Path:
        """Return the checkpoint that was best on the validation images."""
        return best_checkpoint(self.work_dir / name)

    def write_config(self, name: str, *annotations: Path, start: Optional[Path] = None,
                     ignoring: bool = False) -> Path:
        """Write the config of a training on annotation files of the training images.

        Args:
            name (str): Name of the model.
            *annotations (Path): A file for each part of the training data.
            start (Path, optional): Checkpoint to start from.
            ignoring (bool): Whether uncertain pseudo-labels are ignored; else they are
                background. Defaults to False.
        """
        cfg = load_config(str(self.config('student' if len(annotations) > 1 else 'teacher')),
                          self.overrides)
        cfg.load_from = str(start) if start else None
        cfg.model.bbox_head.ignored_regions = 'class' if ignoring else None
        dataset = cfg.train_dataloader.dataset
        for part, path in zip(dataset.get('datasets') or [dataset], annotations):
            part.update(data_root='', ann_file=str(path),
                        data_prefix=dict(img=f'{self.data / "train"}/'))
        for part, split in (('val', 'valid'), ('test', 'test')):
            cfg[f'{part}_dataloader'].dataset.data_root = f'{self.data}/'
            cfg[f'{part}_evaluator'].ann_file = str(self.annotations(split))
        cfg.randomness.seed = self.seed
        path = self.work_dir / f'{name}_config.py'
        write_text(path, cfg.pretty_text)
        return path


def split(context: Context) -> Results:
    """Choose the images that keep their labels."""
    path = context.annotations('train')
    data = read_coco_file(str(path), str(path))
    order = sorted(image['id'] for image in data['images'])
    random.Random(context.seed).shuffle(order)
    count = max(1, round(len(order) * context.share))
    chosen = set(order[:count])
    for target, keep in ((context.labelled, True), (context.hidden, False)):
        write_json(target, dict(
            data, images=[i for i in data['images'] if (i['id'] in chosen) == keep],
            annotations=[a for a in data['annotations'] if (a['image_id'] in chosen) == keep]))
    return dict(labelled=count, unlabelled=len(order) - count)


def _train(context: Context, name: str, *annotations: Path,
           start: Optional[Path] = None, ignoring: bool = False) -> Results:
    config = context.write_config(name, *annotations, start=start, ignoring=ignoring)
    peak = run_tool(
        [str(ROOT / 'tools' / 'train.py'), str(config), '--work-dir',
         str(context.work_dir / name), '--resume'],
        context.work_dir / f'{name}.log', show=r'Iter\(val\).*bbox_mAP: .*')
    return {'checkpoint': context.checkpoint(name), 'peak MB': peak}


def teacher(context: Context) -> Results:
    """Train on the labelled images."""
    return _train(context, 'teacher', context.labelled)


def label(context: Context) -> Results:
    """Label the other images with the teacher."""
    names = [image['file_name'] for image in json.loads(context.hidden.read_text())['images']]
    run_tool(
        [str(ROOT / 'tools' / 'pseudo_label.py'), str(context.work_dir / 'teacher_config.py'),
         str(context.checkpoint('teacher')),
         *(str(context.data / 'train' / name) for name in names),
         '--out', str(context.pseudo), '--image-root', str(context.data / 'train'),
         *context.score_options],
        context.work_dir / 'label.log', show=r'.*labels in .*|could not be read.*')
    return _judge(context)


def _judge(context: Context) -> Results:
    """Compare the pseudo-labels with the hidden labels."""
    truth, labels = (json.loads(path.read_text()) for path in (context.hidden, context.pseudo))
    classes = coco_classes(str(context.annotations('train')))
    ids = {image['file_name']: image['id'] for image in truth['images']}
    images = {image['id']: ids[image['file_name']] for image in labels['images']}
    names = {category['id']: classes.index(category['name']) for category in labels['categories']}
    found = [dict(image_id=images[a['image_id']], label=names[a['category_id']],
                  score=a['score'], bbox=a['bbox'])
             for a in labels['annotations'] if not a['iscrowd']]
    matches = match_detections(truth, found, classes).values()
    hits = sum(int(match.hits.sum()) for match in matches)
    kept = sum(len(match.hits) for match in matches)
    objects = sum(match.num_objects for match in matches)
    uncertain = len(labels['annotations']) - kept
    return {'labels': kept, 'uncertain': uncertain, 'precision': hits / max(kept, 1),
            'recall': hits / max(objects, 1), 'AP': _ap_of(truth, found, classes)}


def _ap_of(truth: dict, found: List[dict], classes) -> float:
    """Return pycocotools' AP of the pseudo-labels."""
    import contextlib
    import io

    from pycocotools.cocoeval import COCOeval

    from mmyolonas.evaluation.score_thresholds import as_coco
    with contextlib.redirect_stdout(io.StringIO()):
        coco = as_coco(truth, classes)
        evaluator = COCOeval(coco, coco.loadRes(
            [dict(item, category_id=item['label'] + 1) for item in found]), 'bbox')
        evaluator.evaluate()
        evaluator.accumulate()
        evaluator.summarize()
    return float(evaluator.stats[0])


def student(context: Context) -> Results:
    """Train on true and pseudo-labels."""
    return _train(context, 'student', context.labelled, context.pseudo)


def ignoring(context: Context) -> Results:
    """Train on true and pseudo-labels, ignoring what the teacher was not sure of."""
    return _train(context, 'ignoring', context.labelled, context.pseudo, ignoring=True)


def teacher_on(context: Context) -> Results:
    """Train the teacher on with its labelled images, in as many steps again."""
    return _train(context, 'teacher_on', context.labelled, start=context.checkpoint('teacher'))


def student_on(context: Context) -> Results:
    """Train the teacher on with true and pseudo-labels, in as many steps again."""
    return _train(context, 'student_on', context.labelled, context.pseudo,
                  start=context.checkpoint('teacher'))


def ignoring_on(context: Context) -> Results:
    """The same, ignoring what the teacher was not sure of."""
    return _train(context, 'ignoring_on', context.labelled, context.pseudo,
                  start=context.checkpoint('teacher'), ignoring=True)


def full(context: Context) -> Results:
    """Train on all true labels, in as many steps."""
    return _train(context, 'full', context.annotations('train'))


def test(name: str):
    """Return the stage that scores a model on the test images."""

    def run(context: Context) -> Results:
        folder = context.work_dir / f'{name}_test'
        run_tool(
            [str(ROOT / 'tools' / 'test.py'), str(context.work_dir / f'{name}_config.py'),
             str(context.checkpoint(name)), '--work-dir', str(folder)],
            context.work_dir / f'{name}_test.log', show=r'Epoch\(test\) \[ *\d+/\d+\]  +eta.*')
        metrics = last_metrics(folder)
        return dict(AP=metrics[METRIC], AP50=metrics[f'{METRIC}_50'])

    return run


def stages(go_on: bool, with_full: bool) -> List[Stage]:
    """Return the stages in order."""
    result = [
        Stage('split', 'Images that keep their labels', split,
              lambda c: [c.labelled, c.hidden]),
        Stage('teacher', 'Teacher on the labelled images', teacher),
        Stage('teacher_test', 'Teacher on the test images', test('teacher')),
        Stage('label', 'Pseudo-labels of the others, against the hidden labels', label,
              lambda c: [c.pseudo]),
        Stage('student', 'Student on both', student),
        Stage('student_test', 'Student on the test images', test('student')),
        Stage('ignoring', 'Student on both, ignoring uncertain labels', ignoring),
        Stage('ignoring_test', 'That on the test images', test('ignoring')),
    ]
    if go_on:
        result += [
            Stage('teacher_on', 'Teacher trained on, labelled images alone', teacher_on),
            Stage('teacher_on_test', 'That on the test images', test('teacher_on')),
            Stage('student_on', 'Teacher trained on, pseudo-labels as well', student_on),
            Stage('student_on_test', 'That on the test images', test('student_on')),
            Stage('ignoring_on', 'Teacher trained on, ignoring uncertain labels', ignoring_on),
            Stage('ignoring_on_test', 'That on the test images', test('ignoring_on'))]
    if with_full:
        result += [Stage('full', 'With all labels', full),
                   Stage('full_test', 'With all labels, on the test images', test('full'))]
    return result


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__)
    parser.add_argument('--data', type=Path, default=ROOT / 'data' / 'bccd')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/pseudo_labels'))
    parser.add_argument('--share', type=float, default=0.2, help='labelled share (default: 0.2)')
    parser.add_argument('--precision', type=float, default=0.8, help='of the pseudo-labels, on the '
                        'validation images (default: 0.8)')
    parser.add_argument('--score-thr', type=float, help='one score threshold instead')
    parser.add_argument('--ignore-above', type=float, default=0.1, help='score from which what is '
                        'no label is uncertain (default: 0.1)')
    parser.add_argument('--configs', type=Path, default=CONFIGS, help='folder of other configs '
                        'of teacher and student')
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--go-on', action='store_true', help='train the teacher on as well, with '
                        'and without pseudo-labels')
    parser.add_argument('--full', action='store_true', help='train with all labels as well')
    parser.add_argument('--fresh', action='store_true', help='repeat what is done')
    add_cfg_options(parser)
    return parser.parse_args()


def main() -> None:
    """Run the benchmark."""
    args = parse_args()
    if not 0 < args.share < 1:
        raise UserError(f'--share must lie between 0 and 1, got {args.share}.')
    overrides = args.cfg_options or {}
    context = Context(args.data.absolute(), args.work_dir.absolute(), args.share, [], args.seed,
                      overrides, args.configs.absolute())
    if args.score_thr is not None:
        context.score_options = ['--score-thr', str(args.score_thr)]
    else:
        context.score_options = [
            '--precision', str(args.precision), '--labelled', str(context.annotations('valid')),
            '--labelled-images', str(context.data / 'valid')]
    context.score_options += ['--ignore-above', str(args.ignore_above)]
    if not context.annotations('train').is_file():
        raise UserError(f'{context.annotations("train")} does not exist; give --data.')
    options = dict(data=str(context.data), share=args.share, scores=context.score_options,
                   configs=[context.config(n).read_text() for n in ('teacher', 'student')],
                   seed=args.seed, overrides=overrides)
    runner = StageRunner(stages(args.go_on, args.full), context.work_dir, options)
    runner.load(args.fresh)
    runner.run(context)
    print()
    print(runner.summary(f'Pseudo-labels: {args.share:.0%} of the labels, seed {args.seed}'))


if __name__ == '__main__':
    run_main(main)
