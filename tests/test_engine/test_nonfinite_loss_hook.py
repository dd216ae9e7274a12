"""A loss that is not a number stops training with a useful message."""
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

from mmyolonas.engine.hooks.nonfinite_loss_hook import NonFiniteLossError, NonFiniteLossHook
from tests import tiny


def make_runner(tmp_path) -> Runner:
    cfg = Config(tiny.config(tiny.write_data(tmp_path / 'data'), tmp_path / 'work', epochs=3))
    cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
    return Runner.from_cfg(cfg)


def break_loss_at(runner: Runner, iteration: int, seen: list) -> None:
    loss = runner.model.bbox_head.loss

    def broken(x, samples):
        losses = loss(x, samples)
        if runner.iter == iteration:
            seen.extend(sample.img_path for sample in samples)
            losses['loss_bbox'] = losses['loss_bbox'] * float('nan')
        return losses

    runner.model.bbox_head.loss = broken


def test_training_stops_with_iteration_and_images(tmp_path):
    runner = make_runner(tmp_path)
    seen = []
    break_loss_at(runner, iteration=4, seen=seen)
    with pytest.raises(NonFiniteLossError) as error:
        runner.train()
    message = str(error.value)
    assert 'epoch 2, iteration 5' in message
    assert 'loss_bbox = nan' in message
    assert len(seen) == 2 and all(path in message for path in seen)
    saved = sorted(path.name for path in (tmp_path / 'work').glob('*.pth'))
    assert saved == ['epoch_1.pth']
    state = torch.load(tmp_path / 'work' / 'epoch_1.pth')['state_dict']
    assert all(torch.isfinite(value).all() for value in state.values())


def test_patience():
    class FakeRunner:
        epoch = iter = 0

        class logger:
            warnings = []
            warning = warnings.append

    hook = NonFiniteLossHook(patience=1)
    bad, good = dict(loss=torch.tensor(float('inf'))), dict(loss=torch.tensor(1.0), acc='n/a')
    hook.after_train_iter(FakeRunner, 0, None, bad)
    assert 'loss = inf' in FakeRunner.logger.warnings[0]
    hook.after_train_iter(FakeRunner, 0, None, good)  # ends the streak
    hook.after_train_iter(FakeRunner, 0, None, bad)
    with pytest.raises(NonFiniteLossError, match='images were unknown'):
        hook.after_train_iter(FakeRunner, 0, None, bad)
