"""Training and scoring a detector on each of many data sets (Roboflow 100's protocol)."""
import math
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional, Sequence

from mmyolonas.run import find_script
from mmyolonas.utils.checkpoints import check_checkpoint, read_checkpoint
from mmyolonas.utils.configs import installed_config
from mmyolonas.utils.data_error import DataError
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import (
    explain_full_disk,
    file_digest,
    is_full_disk,
    read_json,
    write_json,
    write_text,
)
from mmyolonas.utils.inert import literal, write_config_values
from mmyolonas.utils.locks import only_writer
from mmyolonas.utils.stages import (
    Results,
    Stage,
    StageRunner,
    best_checkpoint,
    last_metrics,
    run_tool,
)
from mmyolonas.workflows.rf100.rf100 import rf100_datasets
from mmyolonas.workflows.rf100.rf100_folders import read_splits
from mmyolonas.workflows.rf100.rf100_results import Result, ResultTable

#: Smaller sets are repeated to this many images an epoch (reference.md 11.7).
_LEAST_IMAGES = 512
_METRIC = 'coco/bbox_mAP'

_CONFIG = '''# {category}. Written by tools/rf100.py; an ordinary config. Names and
# paths are in {values_name}, as data.
_base_ = [{base}, '{values_name}']

dataset_values = _base_.dataset_values
classes = tuple(dataset_values['classes'])
metainfo = dict(classes=classes)
model = dict(bbox_head=dict(num_classes=len(classes)))
train_dataloader = dict(
    dataset=dict(
        times={times},
        dataset=dict(
            data_root='', ann_file=dataset_values['train_ann_file'],
            data_prefix=dict(img=dataset_values['train_images']), metainfo=metainfo)))
val_dataloader = dict(
    dataset=dict(
        data_root='', ann_file=dataset_values['val_ann_file'],
        data_prefix=dict(img=dataset_values['val_images']), metainfo=metainfo))
test_dataloader = dict(
    dataset=dict(
        data_root='', ann_file=dataset_values['test_ann_file'],
        data_prefix=dict(img=dataset_values['test_images']), metainfo=metainfo))
val_evaluator = dict(ann_file=dataset_values['val_ann_file'])
test_evaluator = dict(ann_file=dataset_values['test_ann_file'])
load_from = dataset_values['load_from']
randomness = dict(seed={seed})
'''
#: Names and paths of the data, beside the config.
_VALUES_NAME = 'config_values.json'


@dataclass
class RF100Options:
    """How each data set is trained on.

    Args:
        root: Folder of the data sets, one folder each.
        work_dir: Folder of all results.
        model: 's', 'm' or 'l'.
        pretrained: Checkpoint to start from; None trains from scratch.
        config: Config instead of the model's own; it must have the keys of
            ``configs/rf100/yolonas_s_rf100.py``.
        seed: Seed of each training. Defaults to 0.
        cfg_options: Settings to override, as on a command line.
    """
    root: Path
    work_dir: Path
    model: str = 's'
    pretrained: Optional[str] = None
    config: Optional[str] = None
    seed: int = 0
    cfg_options: List[str] = field(default_factory=list)

    def base_config(self) -> Path:
        """Return the config that those of the data sets inherit from.

        Raises:
            UserError: There is no such config.
        """
        path = Path(self.config) if self.config else installed_config(
            f'mmyolonas::rf100/yolonas_{self.model}_rf100.py')
        if not path.is_file():
            raise UserError(f'config {path} does not exist.')
        return path.resolve()

    def identity(self) -> Dict[str, object]:
        """Return what the results depend on, as plain values."""
        weights = file_digest(check_checkpoint(self.pretrained)) if self.pretrained else None
        changes = [item for item in self.cfg_options if '_workers=' not in item]
        return dict(model=self.model, config=self.base_config().read_text(), weights=weights,
                    seed=self.seed, cfg_options=changes)


@dataclass
class _Context:
    """What the stages of one data set are given."""
    name: str
    folder: Path
    options: RF100Options

    @property
    def config(self) -> Path:
        return self.folder / 'config.py'

    @property
    def train_dir(self) -> Path:
        return self.folder / 'train'


def _prepare(context: _Context) -> Results:
    """Check the data and write the config."""
    options = context.options
    splits, classes = read_splits(options.root / context.name)
    images = len(splits['train'].data['images'])
    known = rf100_datasets().get(context.name)
    pretrained = options.pretrained and str(Path(options.pretrained).resolve())
    values = dict(classes=list(classes), load_from=pretrained)
    for split in ('train', 'val', 'test'):
        values[f'{split}_ann_file'] = str(splits[split].ann_file.resolve())
        values[f'{split}_images'] = str(splits[split].images.resolve()) + '/'
    write_config_values(context.config.with_name(_VALUES_NAME), dict(dataset_values=values))
    write_text(context.config, _CONFIG.format(
        category=known.category if known else 'Not of Roboflow 100', values_name=_VALUES_NAME,
        base=literal(str(options.base_config())), seed=options.seed,
        times=max(1, math.ceil(_LEAST_IMAGES / images))))
    note = ''
    if known and known.classes != len(classes):
        note = f'{known.classes} classes were published, {len(classes)} occur'
    return dict(images=' + '.join(str(len(splits[s].data['images']))
                                  for s in ('train', 'val', 'test')),
                train_images=images, classes=len(classes), note=note)


def _train(context: _Context) -> Results:
    """Train, or continue an interrupted training."""
    peak = run_tool(
        [str(find_script('mmyolonas::tools/train.py')), str(context.config), '--work-dir',
         str(context.train_dir), '--resume', *_overrides(context.options)],
        context.folder / 'train.log', show=r'Epoch\((train|val)\).*|resumed epoch.*')
    scores = _best_of_training(context.train_dir)
    return dict(checkpoint=best_checkpoint(context.train_dir), valid_ap=scores.get(_METRIC, -1.0),
                valid_ap50=scores.get(f'{_METRIC}_50', -1.0),
                best_epoch=scores.get('step', -1),
                memory_mb=scores.get('memory') or peak or -1.0)


def _best_of_training(work_dir: Path) -> Dict[str, float]:
    """Return the best validation's scores and epoch and the peak of the GPU's memory."""
    from mmyolonas.visualization import read_log
    log = read_log(work_dir)
    epochs, values = log.val.get(f'{_METRIC}_50', ([], []))
    # the first of equals, as the checkpoint hook chooses
    best = max(zip(values, epochs), key=lambda pair: (pair[0], -pair[1]), default=None)
    scores = {}
    if best is not None:
        epoch = best[1]
        scores = {f'{_METRIC}_50': best[0], 'step': int(epoch),
                  _METRIC: dict(zip(*log.val[_METRIC]))[epoch]}
    if 'memory' in log.train:
        scores['memory'] = max(log.train['memory'][1])
    return scores


def _test(context: _Context) -> Results:
    """Score the chosen checkpoint on test."""
    folder = context.folder / 'test'
    run_tool(
        [str(find_script('mmyolonas::tools/test.py')), str(context.config),
         str(best_checkpoint(context.train_dir)), '--work-dir', str(folder),
         *_overrides(context.options)],
        context.folder / 'test.log', show=r'Epoch\(test\) \[ *\d+/\d+\]  +eta.*')
    metrics = last_metrics(folder)
    return dict(ap=metrics[_METRIC], ap50=metrics[f'{_METRIC}_50'],
                ap75=metrics[f'{_METRIC}_75'])


def _overrides(options: RF100Options) -> List[str]:
    return ['--cfg-options', *options.cfg_options] if options.cfg_options else []


STAGES = [
    Stage('prepare', 'data and config', _prepare, lambda c: [c.config]),
    Stage('train', 'training', _train, lambda c: [c.train_dir / 'last_checkpoint']),
    Stage('test', 'test', _test),
]


def run_dataset(name: str, options: RF100Options,
                identity: Optional[Dict[str, object]] = None, test: bool = True) -> Result:
    """Train and score on one data set; goes on where an earlier call was interrupted.

    Args:
        name (str): Name of its folder.
        options (RF100Options): See there.
        identity (dict, optional): ``options.identity()``, if it is at hand.
        test (bool): Whether to score on test; if not, on valid only.
            Defaults to True.

    Returns:
        Result: What was measured; ``status`` 'ok'.

    Raises:
        UserError, DataError: It failed.
    """
    known = rf100_datasets().get(name)
    result = Result(dataset=name, category=known.category if known else '', model=options.model)
    context = _Context(name, Path(options.work_dir) / name, options)
    stages = STAGES if test else STAGES[:-1]
    runner = StageRunner(stages, context.folder, identity or options.identity())
    runner.load()
    runner.run(context)
    for stage in stages:
        for key, value in runner.results(stage.name).items():
            if hasattr(result, key):
                setattr(result, key, value)
    state = runner.state['stages']
    result.train_minutes = round(state['train']['seconds'] / 60, 3)
    result.status = 'ok'
    return result


def run_all(names: Sequence[str], options: RF100Options, shard: str = '') -> ResultTable:
    """Run data sets one after the other; a failing one does not stop the rest.

    A line of ``results.csv`` (``results_<shard>.csv``) is written as each ends.
    Those with a line without failure are not run again.

    Args:
        names (Sequence[str]): The data sets.
        options (RF100Options): See there.
        shard (str): Name of this job, for its own table. Defaults to ''.

    Raises:
        UserError: The folder holds results of other options, or the disk is full.
    """
    work_dir = Path(options.work_dir)
    if options.pretrained:
        read_checkpoint(options.pretrained)  # damaged ones are found out once, not 100 times
    identity = options.identity()
    _check_identity(work_dir, identity)
    path = work_dir / (f'results_{shard}.csv' if shard else 'results.csv')
    with only_writer(path, advice='For several jobs on one folder give each a --shard I/N.'):
        return _run_all(names, options, identity, ResultTable(path))


def _run_all(names: Sequence[str], options: RF100Options, identity: Dict[str, object],
             table: ResultTable) -> ResultTable:
    work_dir = Path(options.work_dir)
    done = ResultTable.merged(work_dir)
    for number, name in enumerate(names, 1):
        head = f'=== {name} ({number} of {len(names)})'
        if name in done and done[name].status == 'ok':
            print(f'{head}: done before, AP {done[name].ap:.3f}', flush=True)
            continue
        print(head, flush=True)
        advice = 'Make room and start the same command again; what is done is kept.'
        with explain_full_disk(work_dir, advice):
            try:
                result = run_dataset(name, options, identity)
            except Exception as error:
                if is_full_disk(error):
                    raise
                message = str(error)
                if not isinstance(error, (UserError, DataError)):
                    message = f'{type(error).__name__}: {message}'
                    traceback.print_exc()
                print(f'failed: {message}', flush=True)
                known = rf100_datasets().get(name)
                result = Result(dataset=name, category=known.category if known else '',
                                model=options.model, status='failed',
                                message=' '.join(message.split())[:500])
            table.add(result)
        if result.status == 'ok':
            print(f'    test AP {result.ap:.3f}, AP50 {result.ap50:.3f}', flush=True)
    return table


def _check_identity(work_dir: Path, identity: Dict[str, object]) -> None:
    """Note the options of a folder; refuse to mix results of different ones."""
    path = work_dir / 'options.json'
    if path.is_file():
        before = read_json(path, 'a note of the options', advice='Give another --work-dir.')
        other = [key for key in identity if before.get(key) != identity[key]]
        if other:
            raise UserError(f'{work_dir} holds results of another {", ".join(other)}; give '
                            'another --work-dir.')
    else:
        write_json(path, identity)


