"""A failed save leaves the last good checkpoint and its pointer as they were."""
import errno
import os
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmyolonas.utils import UserError
from mmyolonas.utils import files as file_utils
from tests import tiny


def make_runner(tmp_path, epochs: int, **hook) -> Runner:
    cfg = Config(tiny.config(tiny.write_data(tmp_path / 'data'), tmp_path / 'work', epochs))
    cfg.default_hooks.checkpoint = dict(type='mmyolonas.AtomicCheckpointHook', interval=1, **hook)
    cfg.train_cfg.val_interval = 1
    return Runner.from_cfg(cfg)


def fill_disk_at(monkeypatch, save: int) -> list:
    """Let the ``save``-th checkpoint run into a full disk; returns what was tried."""
    tried = []
    sync = file_utils._sync

    def full(path: Path) -> None:
        if path.suffix == '.pth':
            tried.append(path)
            if len(tried) == save:
                os.truncate(path, 1000)  # what a full disk leaves
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(path)

    monkeypatch.setattr(file_utils, '_sync', full)
    return tried


def test_disk_full_keeps_the_last_good_checkpoint(tmp_path, monkeypatch):
    """mmengine would have removed epoch 2 before it fails to write epoch 3."""
    runner = make_runner(tmp_path, epochs=4, max_keep_ckpts=1)
    fill_disk_at(monkeypatch, save=3)
    with pytest.raises(UserError) as error:
        runner.train()
    message = str(error.value)
    assert 'No space left on device' in message and 'epoch_3.pth' in message
    assert 'last good checkpoint' in message and '--resume' in message
    work = tmp_path / 'work'
    assert [path.name for path in work.glob('*.pth')] == ['epoch_2.pth']
    assert not list(work.glob('.*part*'))
    assert Path((work / 'last_checkpoint').read_text()).name == 'epoch_2.pth'
    assert torch.load(work / 'epoch_2.pth')['meta']['epoch'] == 2


def test_disk_full_while_saving_the_best(tmp_path, monkeypatch):
    """The previous best survives when a better one cannot be saved."""
    runner = make_runner(tmp_path, epochs=3, save_best='coco/bbox_mAP', rule='greater')
    loop = runner.val_loop
    scores = iter([0.1, 0.2, 0.3])
    loop.evaluator.evaluate = lambda size: {'coco/bbox_mAP': next(scores)}
    # epoch 1: checkpoint, best, checkpoint again with the new best noted; epoch 2: checkpoint
    fill_disk_at(monkeypatch, save=5)
    with pytest.raises(UserError, match='the best checkpoint'):
        runner.train()
    names = {path.name for path in (tmp_path / 'work').glob('*.pth')}
    assert names == {'epoch_1.pth', 'epoch_2.pth', 'best_coco_bbox_mAP_epoch_1.pth'}


def test_outdated_checkpoints_are_removed(tmp_path):
    runner = make_runner(
        tmp_path, epochs=4, max_keep_ckpts=2, save_best='coco/bbox_mAP', rule='greater')
    scores = iter([0.1, 0.3, 0.2, 0.1])
    runner.val_loop.evaluator.evaluate = lambda size: {'coco/bbox_mAP': next(scores)}
    work = tmp_path / 'work'
    work.mkdir(exist_ok=True)
    (work / '.epoch_9.xyz.part.pth').write_bytes(b'left by a killed process')
    runner.train()
    names = {path.name for path in work.glob('*.pth')}
    assert names == {'epoch_3.pth', 'epoch_4.pth', 'best_coco_bbox_mAP_epoch_2.pth'}
    assert Path((work / 'last_checkpoint').read_text()).name == 'epoch_4.pth'
    hub = torch.load(work / 'epoch_4.pth')['message_hub']
    assert hub['runtime_info']['keep_ckpt_ids'] == [3, 4]


@pytest.mark.parametrize('last', [False, True])
def test_a_validation_that_was_killed_is_made_up(tmp_path, last):
    """Killed after the checkpoint of epoch 2 (of 3, or the last) and before its result."""
    epochs = 2 if last else 3
    settings = dict(save_best='coco/bbox_mAP', rule='greater')

    def runner_with(scores: list) -> Runner:
        runner = make_runner(tmp_path, epochs, **settings)
        runner._resume = (tmp_path / 'work' / 'last_checkpoint').is_file()
        iterator = iter(scores)

        def evaluate(size: int) -> dict:
            score = next(iterator)
            if score is None:
                raise KeyboardInterrupt
            return {'coco/bbox_mAP': score}

        runner.val_loop.evaluator.evaluate = evaluate
        return runner

    with pytest.raises(KeyboardInterrupt):
        runner_with([0.1, None]).train()
    work = tmp_path / 'work'
    assert (work / 'epoch_2.pth').is_file() and (work / 'last_validation').read_text() == '3\n'
    runner_with([0.5] if last else [0.5, 0.3]).train()
    assert [path.name for path in work.glob('best_*')] == ['best_coco_bbox_mAP_epoch_2.pth']
    # what is validated is not validated again
    runner_with([]).train()
    assert (work / 'last_validation').read_text() == f'{3 * epochs}\n'
