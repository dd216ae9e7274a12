"""The average of the best snapshots: which are kept, what is written, what a kill leaves."""
import json

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmyolonas.engine.hooks.snapshot_average_hook import SnapshotAverageHook, average_states
from mmyolonas.utils import UserError
from tests import tiny

SCORES = [0.1, 0.4, float('nan'), 0.3, 0.4, 0.2]


class Stop(Hook):
    """Ends the training at the start of an epoch."""

    def __init__(self, epoch: int):
        self.epoch = epoch

    def before_train_epoch(self, runner):
        if runner.epoch == self.epoch:
            raise KeyboardInterrupt


class Watch(Hook):
    """Keeps the weights that each validation sees."""
    priority = 'VERY_HIGH'

    def __init__(self):
        self.states = {}

    def after_val_epoch(self, runner, metrics=None):
        self.states[runner.epoch] = {k: v.clone() for k, v in runner.model.state_dict().items()}


def make_runner(tmp_path, hook=None, scores=SCORES, resume=False, name='work', first=0) -> Runner:
    data = tmp_path / 'data'
    cfg = Config(tiny.config(data if data.is_dir() else tiny.write_data(data, 2),
                             tmp_path / name, len(SCORES)))
    cfg.train_cfg.val_interval = 1
    cfg.resume = resume
    cfg.experiment_name = f'{name}-{resume}-{first}'
    cfg.default_hooks.checkpoint.interval = 2
    cfg.custom_hooks.append(
        dict(type='mmyolonas.SnapshotAverageHook', num_best=3, **(hook or {})))
    runner = Runner.from_cfg(cfg)
    values = iter(scores[first:])
    runner.val_loop.evaluator.evaluate = lambda size: {'coco/bbox_mAP': next(values, 0.77)}
    return runner


def mean(states: list) -> dict:
    return {key: torch.stack([s[key].double() for s in states]).mean(0).to(value.dtype)
            for key, value in states[0].items() if value.is_floating_point()}


def test_the_best_are_averaged(tmp_path):
    runner, watch = make_runner(tmp_path), Watch()
    runner.register_hook(watch)
    runner.train()
    index = json.loads((tmp_path / 'work' / 'snapshots' / 'index.json').read_text())
    # 0.4 twice (the later first), then 0.3; a NaN is not a result
    assert [(row['epoch'], row['iter'], row['value']) for row in index['snapshots']] == [
        (5, 5, 0.4), (2, 2, 0.4), (4, 4, 0.3)]
    names = {path.name for path in (tmp_path / 'work' / 'snapshots').iterdir()}
    assert names == {'index.json', *(row['file'] for row in index['snapshots'])}
    content = torch.load(tmp_path / 'work' / 'average_best.pth')
    assert content['meta']['dataset_meta']['classes'] == tiny.CLASSES
    assert content['meta']['snapshots'] == index['snapshots']
    # the weights that were validated are those of the EMA, and so is their mean
    for key, value in mean([watch.states[epoch] for epoch in (5, 2, 4)]).items():
        torch.testing.assert_close(content['state_dict'][key], value, rtol=0, atol=0)
    ema = torch.load(tmp_path / 'work' / 'epoch_4.pth')['state_dict']
    key = 'bbox_head.levels.0.reg_pred.weight'
    assert torch.equal(torch.load(
        tmp_path / 'work' / 'snapshots' / 'epoch_4_iter_4.pth')[key], ema[key])


@pytest.mark.long
def test_killed_and_resumed(tmp_path):
    """A snapshot from after the checkpoint is made again; the result is the same."""
    runner = make_runner(tmp_path)
    runner.register_hook(Stop(3))  # validated three times, saved after two epochs
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    folder = tmp_path / 'work' / 'snapshots'
    (folder / '.epoch_3.abc.part.pth').write_bytes(b'half')
    torch.save({}, folder / 'epoch_3_iter_3.pth')  # written, then killed before the index was
    make_runner(tmp_path, resume=True, first=2).train()
    make_runner(tmp_path, name='whole').train()
    one, two = (json.loads((tmp_path / name / 'snapshots' / 'index.json').read_text())
                for name in ('work', 'whole'))
    assert one == two
    one, two = (torch.load(tmp_path / name / 'average_best.pth')['state_dict']
                for name in ('work', 'whole'))
    assert all(torch.equal(one[key], value) for key, value in two.items())
    # a new training does not mix with the old one
    runner = make_runner(tmp_path, scores=[0.01] * 6)
    runner.register_hook(Stop(1))
    with pytest.raises(KeyboardInterrupt):
        runner.train()
    assert len(list(folder.glob('*.pth'))) == 1


def test_the_average_is_validated(tmp_path):
    runner = make_runner(tmp_path, hook=dict(evaluate=True, rule='less', metric='coco/bbox_mAP'))
    seen = []
    predict = type(runner.model).val_step

    def val_step(model, batch):
        seen.append(model.state_dict()['bbox_head.levels.0.reg_pred.weight'].clone())
        return predict(model, batch)

    runner.model.val_step = val_step.__get__(runner.model)
    runner.train()
    path = tmp_path / 'work' / 'average_best.pth'
    content = torch.load(path)
    assert [row['value'] for row in content['meta']['snapshots']] == [0.1, 0.2, 0.3]
    key = 'bbox_head.levels.0.reg_pred.weight'
    assert torch.equal(seen[-1], content['state_dict'][key])
    assert not torch.equal(runner.model.state_dict()[key], content['state_dict'][key])
    assert json.loads(path.with_suffix('.json').read_text()) == {'coco/bbox_mAP': 0.77}


def test_refused(tmp_path):
    with pytest.raises(ValueError, match='rule'):
        SnapshotAverageHook(rule='max')
    with pytest.raises(ValueError, match='num_best'):
        SnapshotAverageHook(num_best=0)
    with pytest.raises(UserError, match='no coco/AP; set metric to one of coco/bbox_mAP'):
        make_runner(tmp_path, hook=dict(metric='coco/AP')).train()


def test_full_disk(tmp_path, monkeypatch):
    import errno
    runner = make_runner(tmp_path)

    def full(path, content):
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr('mmyolonas.engine.hooks.snapshot_average_hook.write_checkpoint', full)
    with pytest.raises(UserError, match='No space left.*--resume'):
        runner.train()


def test_mean_of_files(tmp_path):
    for index in range(3):
        torch.save(dict(a=torch.full((2, ), float(index), dtype=torch.float16),
                        n=torch.tensor(index)), tmp_path / f'{index}.pth')
    state = average_states([tmp_path / f'{index}.pth' for index in (2, 0, 1)])
    assert state['a'].dtype == torch.float16 and torch.equal(state['a'], torch.ones(2).half())
    assert int(state['n']) == 2
