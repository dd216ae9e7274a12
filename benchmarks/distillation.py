"""A student with and without distillation at equal budget, on generated images.

One teacher is trained, then for every seed the same student without and with
mmyolonas.DistillationHook: same images, epochs, schedule and seed. Each is scored at its
last epoch (nothing is chosen) with pycocotools on held-out images. The table has mean,
standard deviation and the difference within each seed; and what a step costs, plain and
distilled step taken in turn on the same batch, in processor time.

With --longer N the plain student is also trained for N epochs, as many as take the time of
distilling; with --cheaper it is also distilled from a teacher that is asked in every second
step about images of half the size. Each training is continued where it was and nothing
finished is repeated; more seeds, --longer and --cheaper may be asked for later. Results:
results.json and summary.md in the work folder.
"""
import argparse
import math
import statistics
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, List, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import ROOT, timed
from mmyolonas.utils.checkpoints import last_checkpoint
from mmyolonas.utils.cli import add_cfg_options, new_parser, run_main
from mmyolonas.utils.configs import load_config
from mmyolonas.utils.files import write_json, write_text
from mmyolonas.utils.stages import Results, Stage, StageRunner, last_metrics, run_tool
from mmyolonas.visualization import read_log

METRICS = ('coco/bbox_mAP', 'coco/bbox_mAP_50')
ARMS = ('plain', 'distilled')
CHEAPER = 'distilled, cheaper'


@dataclass
class Context:
    """What every stage is given.

    Args:
        args: The command line.
        overrides: Settings of all configs, as for ``--cfg-options``.
    """
    args: argparse.Namespace
    overrides: List[str]

    @property
    def teacher_dir(self) -> Path:
        """Path: Work folder of the teacher's training."""
        return self.args.work_dir / 'teacher'

    def run_dir(self, arm: str, seed: int) -> Path:
        """Return the work folder of a student's training."""
        return self.args.work_dir / f'{arm.replace(",", "").replace(" ", "_")}_{seed}'

    def options(self, epochs: int) -> List[str]:
        """Return the settings that the trainings share."""
        data = self.args.data_dir
        options = [
            f'train_dataloader.dataset.data_root={data}/',
            f'val_dataloader.dataset.data_root={data}/',
            f'val_evaluator.ann_file={data}/annotations/instances_val.json',
            f'train_cfg.max_epochs={epochs}', f'train_cfg.val_interval={epochs}',
            f'param_scheduler.1.end={epochs}', f'param_scheduler.1.T_max={epochs}',
            'default_hooks.checkpoint.save_best=None'
        ]
        return options + self.overrides


def make_data(context: Context) -> Results:
    """Draw the images."""
    from mmyolonas.datasets.samples.sample_data import generate_detection_samples
    args = context.args
    generate_detection_samples(str(args.data_dir), args.train_images, args.val_images)
    return dict(images=f'{args.train_images} + {args.val_images} held out')


def train(context: Context, config: Path, folder: Path, epochs: int, options: List[str]) -> Results:
    """Train, or continue; return the scores of the last epoch."""
    run_tool(
        [str(ROOT / 'tools' / 'train.py'), str(config), '--work-dir', str(folder), '--resume',
         '--cfg-options', *context.options(epochs), *options],
        folder / 'train.log', show=r'Epoch\((?:train|val)\).*?(?=  data_time|$)|resumed epoch.*')
    val = read_log(folder).val
    if METRICS[0] not in val:  # killed between the last checkpoint and the validation
        return evaluate(context, config, folder, options)
    return {name: val[name][1][-1] for name in METRICS}


def evaluate(context: Context, config: Path, folder: Path, options: List[str]) -> Results:
    """Return the scores of the last checkpoint of a folder."""
    data = context.args.data_dir
    run_tool(
        [str(ROOT / 'tools' / 'test.py'), str(config), str(last_checkpoint(str(folder))),
         '--work-dir', str(folder / 'test'), '--cfg-options',
         f'test_dataloader.dataset.data_root={data}/',
         f'test_evaluator.ann_file={data}/annotations/instances_val.json', *context.overrides,
         *options], folder / 'test.log', show=r'Epoch\(test\).*')
    metrics = last_metrics(folder / 'test')
    return {name: metrics[name] for name in METRICS}


def train_teacher(context: Context) -> Results:
    """Train the teacher."""
    args = context.args
    return train(context, args.teacher_config, context.teacher_dir, args.teacher_epochs,
                 ['randomness.seed=1000'])


def train_student(context: Context, arm: str, seed: int) -> Results:
    """Train a student, with the teacher or without."""
    args = context.args
    epochs = arms(args)[arm]
    config = load_config(str(args.student_config))
    position = [hook['type'] for hook in config.custom_hooks].index('mmyolonas.DistillationHook')
    hook = f'custom_hooks.{position}'
    # without a teacher the hook is there, and idle: the arms differ in nothing else
    if not arm.startswith('distilled'):
        options = [f'{hook}.teacher=ema', f'{hook}.schedule.begin={epochs}',
                   f'{hook}.schedule.warmup=0']
    else:
        options = [f'{hook}.teacher.config={args.teacher_config}',
                   f'{hook}.teacher.checkpoint={last_checkpoint(str(context.teacher_dir))}']
    if arm == CHEAPER:
        options += [f'{hook}.every=2', f'{hook}.teacher.input_scale=0.5']
    return train(context, args.student_config, context.run_dir(arm, seed), epochs,
                 [f'randomness.seed={seed}', *options])


def measure_cost(context: Context) -> Results:
    """Time training steps in turn: without a teacher, with it, with it on half the size."""
    import torch
    from mmengine.optim import OptimWrapper
    from mmengine.runner import Runner

    from mmyolonas.engine.distillation import (
        DistillationTerms,
        StudentTap,
        TermSettings,
        load_teacher,
    )
    from mmyolonas.utils.building import build_model
    args = context.args
    cfg = load_config(str(args.student_config))
    cfg.merge_from_dict(dict(option.split('=', 1) for option in context.options(1)[:1]))
    torch.manual_seed(0)
    student = build_model(cfg).train()
    teacher = load_teacher(str(args.teacher_config), str(last_checkpoint(str(context.teacher_dir))),
                           student)
    head = student.bbox_head
    tap = StudentTap(student, head, teacher,
                     DistillationTerms(head, TermSettings(weights=dict(cls=1.0, dfl=1.0))))
    optimizer = OptimWrapper(torch.optim.AdamW(student.parameters(), lr=1e-5))
    batch = next(iter(Runner.build_dataloader(cfg.train_dataloader, seed=0)))
    seconds: Dict[str, List[float]] = {arm: [] for arm in (*ARMS, 'half')}
    for _ in range(args.rounds + 1):
        for arm in seconds:
            tap.factor = float(arm != 'plain')
            teacher.input_scale = 0.5 if arm == 'half' else 1.
            seconds[arm] += timed(lambda: student.train_step(batch, optimizer), clock='cpu')
    # the first round warms up
    plain, distilled, half = (values[1:] for values in seconds.values())
    cheaper = [(a + b) / 2 for a, b in zip(plain, half)]  # in every second step
    found = {}
    for name, values in (('plain', plain), ('distilled', distilled), ('half', half),
                         ('cheaper', cheaper)):
        found[f'{name}_ms'] = 1e3 * statistics.median(values)
        found[f'{name}_ratio'] = statistics.median(b / a for a, b in zip(plain, values))
    ratios = [b / a for a, b in zip(plain, distilled)]
    return dict(found, ratio=statistics.median(ratios), ratio_low=min(ratios),
                ratio_high=max(ratios))


def arms(args: argparse.Namespace) -> Dict[str, int]:
    """Return the students of each seed: epochs by name."""
    found = dict.fromkeys(ARMS, args.epochs)
    if args.cheaper:
        found[CHEAPER] = args.epochs
    if args.longer:
        found[f'plain, {args.longer} epochs'] = args.longer
    return found


def stages(args: argparse.Namespace) -> List[Stage]:
    """Return the stages for the seeds that are asked for."""
    found = [
        Stage('data', 'Generated images', make_data),
        Stage('teacher', 'Training of the teacher', train_teacher),
        Stage('cost', 'Cost of a step', measure_cost),
    ]
    for seed in args.seeds:
        for arm in arms(args):
            found.append(Stage(
                f'{arm}-{seed}', f'Student, {arm}, seed {seed}',
                lambda context, arm=arm, seed=seed: train_student(context, arm, seed)))
    return found


def spread(values: List[float]) -> Tuple[float, float]:
    """Return mean and standard deviation (0 for a single value)."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else 0.0


def report(runner: StageRunner, args: argparse.Namespace) -> str:
    """Return the table; written to ``summary.md`` and ``results.json`` too."""
    students = arms(args)
    seeds = [seed for seed in args.seeds
             if all(runner.results(f'{arm}-{seed}') for arm in students)]
    cost, teacher = runner.results('cost'), runner.results('teacher')
    lines = ['| | ' + ' | '.join(name[5:] for name in METRICS) + ' | a step |',
             '| --- |' + ' --- |' * (len(METRICS) + 1),
             '| teacher | ' + ' | '.join(f'{teacher[name]:.3f}' for name in METRICS) + ' | |']
    results: dict = dict(seeds=seeds, teacher=teacher, cost=cost, arms={}, gain={})
    values = {arm: {name: [runner.results(f'{arm}-{seed}')[name] for seed in seeds]
                    for name in METRICS} for arm in students}
    columns = {'distilled': 'distilled_ms', CHEAPER: 'cheaper_ms'}
    for arm in students if seeds else ():
        cells = ['{:.3f} ± {:.3f}'.format(*spread(values[arm][name])) for name in METRICS]
        lines.append(f'| {arm} | {" | ".join(cells)} | '
                     f'{cost.get(columns.get(arm, "plain_ms"), math.nan):.0f} ms |')
        results['arms'][arm] = values[arm]
    if seeds:
        gains = {name: [b - a for a, b in zip(*(values[arm][name] for arm in ARMS))]
                 for name in METRICS}
        cells = ['{:+.3f} ± {:.3f} ({})'.format(
            *spread(gains[name]), ', '.join(f'{gain:+.3f}' for gain in gains[name]))
            for name in METRICS]
        lines.append(f'| difference within a seed | {" | ".join(cells)} | x {cost["ratio"]:.2f} '
                     f'({cost["ratio_low"]:.2f} .. {cost["ratio_high"]:.2f}) |')
        results['gain'] = gains
    text = (f'{len(seeds)} seeds, {args.epochs} epochs of {args.train_images} images, '
            f'{args.val_images} held out; teacher {args.teacher_epochs} epochs; mean ± standard '
            'deviation; a step in processor time\n\n' + '\n'.join(lines) + '\n')
    write_json(args.work_dir / 'results.json', results)
    write_text(args.work_dir / 'summary.md', text)
    return text


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__)
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/distillation'))
    parser.add_argument('--data-dir', type=Path, default=Path('data/sample_shapes_distillation'))
    distill = ROOT / 'configs' / 'distill'
    parser.add_argument('--teacher-config', type=Path, default=distill / 'yolonas_m_sample.py')
    parser.add_argument('--student-config', type=Path,
                        default=distill / 'yolonas_s_distill-m_sample.py')
    parser.add_argument('--seeds', type=int, nargs='+', default=[0, 1, 2], help='default: 0 1 2')
    parser.add_argument('--epochs', type=int, default=6, help='of a student (default: 6)')
    parser.add_argument('--teacher-epochs', type=int, default=16, help='default: 16')
    parser.add_argument('--train-images', type=int, default=300, help='default: 300')
    parser.add_argument('--val-images', type=int, default=100, help='default: 100')
    parser.add_argument('--rounds', type=int, default=5, help='timed steps (default: 5)')
    parser.add_argument('--longer', type=int, metavar='N', help='train the plain student for N '
                        'epochs too')
    parser.add_argument('--cheaper', action='store_true', help='distil in every second step and '
                        'from images of half the size too')
    add_cfg_options(parser)
    return parser.parse_args()


def main() -> None:
    """Run the tool."""
    args = parse_args()
    for name in ('work_dir', 'data_dir', 'teacher_config', 'student_config'):
        setattr(args, name, getattr(args, name).absolute())
    overrides = [f'{key}={value}' for key, value in (args.cfg_options or {}).items()]
    options = dict(overrides=overrides, **{
        name: getattr(args, name)
        for name in ('epochs', 'teacher_epochs', 'train_images', 'val_images')})
    for name in ('teacher_config', 'student_config'):
        options[name] = getattr(args, name).read_text()
    runner = StageRunner(stages(args), args.work_dir, options)
    runner.load()
    runner.run(Context(args, overrides))
    print(report(runner, args))


if __name__ == '__main__':
    run_main(main)
