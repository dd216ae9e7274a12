"""Stage 3: trainings that a CPU could not finish, each against a control of equal cost.

Every item is complete in itself: what it starts from (a teacher, a float model) is taken from the
scratch folder or trained first. Figures are of the test split, at the last epoch or, of
pseudo-labels and pre-training, of the checkpoint that is best on the validation split, so that
nothing is chosen on them. A folder of a training that was stopped is gone on with.
"""
from pathlib import Path
from typing import Any, Callable, Dict, List, Tuple

from benchmarks.gpu.accuracy_configs import Arm, write_config, write_pseudo_configs
from benchmarks.gpu.items import Item, Settings
from benchmarks.gpu.trainings import read_json, run_benchmark, step_seconds, test, train
from mmyolonas.utils.checkpoints import last_checkpoint
from mmyolonas.utils.files import write_json

SEEDS = (0, 1, 2)
DATA_SETS = ('bccd', 'deeppcb')
#: Drawn images of the pre-training.
DRAWN = 20_000


def items(settings: Settings) -> List[Item]:
    """Return the items: first one seed of everything, then the other seeds."""
    if settings.quick:
        return []
    if settings.rehearse:
        return [Item(key, resumes=True) for key in (
            'scratch/bccd-s-0', 'distill/0', 'qat/0', 'pseudo/0', 'pretrain/0')]
    found: List[Item] = []
    for seed in SEEDS:
        found += [Item(f'scratch/{data}-{arch}-{seed}', 150 if arch == 's' else 220, True)
                  for data in DATA_SETS for arch in 'sm']
        found += [Item(f'distill/{seed}', 420, True), Item(f'qat/{seed}', 240, True),
                  Item(f'pseudo/{seed}', 600, True)]
    # drawing and pre-training once serve all seeds while the scratch folder lives
    return [*found, *(Item(f'pretrain/{seed}', 480, True) for seed in SEEDS)]


def run(key: str, settings: Settings) -> Dict[str, Any]:
    """Do an item."""
    kind, rest = key.split('/')
    if kind == 'scratch':
        data, arch, seed = rest.split('-')
        return dict(_trained(Arm(data, arch, int(seed), epochs(settings, data)), settings)[1])
    return KINDS[kind](int(rest), settings)


def epochs(settings: Settings, data: str) -> int:
    """Return the epochs of a training to convergence: some 60,000 images of each set."""
    if settings.rehearse:
        return 1
    return dict(bccd=300, deeppcb=380)[data]


def _trained(arm: Arm, settings: Settings) -> Tuple[Path, Dict[str, Any]]:
    """Train an arm, or go on; return its checkpoint, its scores and the time of a step."""
    work = settings.folder('accuracy') / arm.name
    config = write_config(arm, settings, settings.folder('accuracy') / f'{arm.name}.py')
    result = work / 'result.json'
    if not result.is_file():
        train(str(config), work, settings, Path(), arm.epochs, [], amp=arm.start is None)
        checkpoint = last_checkpoint(str(work))
        scores = test(config, checkpoint, settings.folder('accuracy') / f'{arm.name}_test', [])
        write_json(result, dict(scores, step_seconds=step_seconds(work), epochs=arm.epochs,
                                seed=arm.seed))
    return last_checkpoint(str(work)), read_json(result)


def distill(seed: int, settings: Settings) -> Dict[str, Any]:
    """S from M on BCCD: distilled, plain for as many epochs, plain for as much time."""
    count = epochs(settings, 'bccd')
    teacher, teacher_scores = _trained(Arm('bccd', 'm', 0, count), settings)
    plain = _trained(Arm('bccd', 's', seed, count), settings)[1]
    distilled = _trained(Arm('bccd', 's', seed, count, teacher=teacher), settings)[1]
    # by the time of a step: the teacher's share of it buys the other more epochs
    longer = max(count, round(count * distilled['step_seconds'] / plain['step_seconds']))
    equal_time = plain if longer == count else _trained(
        Arm('bccd', 's', seed, longer, note='_longer'), settings)[1]
    return dict(teacher=teacher_scores, plain=plain, distilled=distilled,
                plain_equal_time=equal_time,
                gain_equal_epochs=distilled['ap'] - plain['ap'],
                gain_equal_time=distilled['ap'] - equal_time['ap'])


def qat(seed: int, settings: Settings) -> Dict[str, Any]:
    """Quantisation-aware training of S on BCCD against a float fine-tune of the same length."""
    start, before = _trained(Arm('bccd', 's', seed, epochs(settings, 'bccd')), settings)
    count = 1 if settings.rehearse else 10
    arm = Arm('bccd', 's', seed, count, start=start, note='_tuned')
    tuned = _trained(arm, settings)[1]
    quantised = _trained(Arm('bccd', 's', seed, count, start=start, note='_qat', qat=True),
                         settings)[1]
    return dict(float_before=before, float_tuned=tuned, qat=quantised,
                qat_minus_tuned=quantised['ap'] - tuned['ap'])


def pseudo(seed: int, settings: Settings) -> Dict[str, Any]:
    """Blood cells with a fifth of the labels, four trainings of as many steps.

    A teacher; from scratch on its labels; and the control of equal time: the teacher trained on
    with its pseudo-labels as well, and without them. Uncertain labels are background, or ignored.
    """
    work = settings.folder('accuracy', f'pseudo_{seed}')
    options = ['--data', str(settings.data_set('bccd')), '--work-dir', str(work), '--seed',
               str(seed), '--go-on', '--configs', str(write_pseudo_configs(settings))]
    if settings.rehearse:
        options += ['--score-thr', '0.001', '--ignore-above', '0.0001']
    run_benchmark('pseudo_labels.py', options, work.parent / f'pseudo_{seed}.log')
    stages = read_json(work / 'stages.json')['stages']
    found = {name: stages[name]['results'] for name in stages
             if name.endswith('_test') or name == 'label'}
    alone = found['teacher_on_test']['AP']
    return dict(found, gain_equal_time=found['student_on_test']['AP'] - alone,
                gain_equal_time_ignoring=found['ignoring_on_test']['AP'] - alone)


def pretrain(seed: int, settings: Settings) -> Dict[str, Any]:
    """What weights from drawn images are worth on BCCD, one seed of three starts."""
    work = settings.folder('accuracy', 'pretrain')
    result = work / f'seed_{seed}.json'
    count = 16 if settings.rehearse else DRAWN
    options = [str(settings.data_set('bccd')), '--work-dir', str(work), '--images', str(count),
               '--seeds', str(seed), '--json', str(result), '--workers', str(settings.workers)]
    if settings.rehearse:
        options += ['--epochs', '1', '--pretrain-epochs', '1', '--finetune-options',
                    '--imgsz 64 --batch 8']
    else:
        options += ['--epochs', '60', '--pretrain-epochs', '6', '--pretrain-options',
                    'train_dataloader.batch_size=64', f'train_dataloader.num_workers='
                    f'{settings.workers}', 'train_dataloader.persistent_workers=True',
                    'optim_wrapper.optimizer.lr=0.002']
    run_benchmark('generated_pretraining.py', options, work / f'seed_{seed}.log')
    return dict(drawn=count, **{name.replace(' ', '_'): runs[0]
                                for name, runs in read_json(result).items()})


KINDS: Dict[str, Callable[[int, Settings], Dict[str, Any]]] = dict(
    distill=distill, qat=qat, pseudo=pseudo, pretrain=pretrain)
