"""Continues a training by the schedule of the config, and says so if it has changed."""
import copy
import warnings
from types import SimpleNamespace
from typing import Any, Dict, List, Tuple

from mmengine.hooks import Hook

from mmyolonas.registry import HOOKS
from mmyolonas.utils.errors import UserError

#: What of a scheduler's state is a place on the schedule, not the schedule.
_PLACE = ('last_step', '_global_step', '_last_value', 'verbose')


@HOOKS.register_module()
class ResumeHook(Hook):
    """Check what a training is resumed from, and recompute a changed schedule.

    mmengine takes the schedule out of the checkpoint, whatever the config says: with
    more epochs the rate stays at its end. Here the schedulers of the config are
    stepped to where the training is, and their values taken, if their settings differ
    from the checkpoint's. ``tools/train.py --resume`` adds this hook.
    """

    priority = 'HIGH'

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Look at a checkpoint before mmengine continues from it.

        Raises:
            UserError: It holds no state of a training, or its changed schedule cannot be
                recomputed.
        """
        if not runner._resume:
            return
        source = str(runner._load_from or 'the checkpoint')
        epoch, iteration = check_state(checkpoint, source)
        _check_groups(runner.optim_wrapper, checkpoint['optimizer'], source)
        schedulers = runner.param_schedulers
        if schedulers is None or 'param_schedulers' not in checkpoint:
            return
        saved = checkpoint['param_schedulers']
        if not isinstance(schedulers, list) or not isinstance(saved, list):
            return  # of several optimizers
        if len(saved) == len(schedulers) and all(map(_same, schedulers, saved)):
            return
        length = len(runner.train_dataloader)
        if runner._train_loop.__class__.__name__ == 'EpochBasedTrainLoop' and (
                iteration // length != epoch):
            iteration = epoch * length  # batches of another size
        old = _rates(checkpoint)
        _recompute(schedulers, checkpoint, source, epoch, iteration)
        runner.logger.warning(
            f'the schedule of the config is not that of {source} (other epochs, rate or batch '
            f'size): recomputed for epoch {epoch}, the rate goes on at {_show(_rates(checkpoint))} '
            f'instead of {_show(old)}.')


def check_state(checkpoint: dict, source: str) -> Tuple[int, int]:
    """Return epoch and iteration of a checkpoint that a training can continue from.

    Raises:
        UserError: It holds no such state, or a damaged one.
    """
    meta, optimizer = checkpoint.get('meta') or {}, checkpoint.get('optimizer')
    place = tuple(meta.get(key) for key in ('epoch', 'iter'))
    whole = all(type(number) is int and number >= 0 for number in place)
    groups = optimizer.get('param_groups') if isinstance(optimizer, dict) else None
    hub = checkpoint.get('message_hub')
    if not whole or not isinstance(hub, dict) or not isinstance(optimizer, dict) or (
            groups is not None and not all(isinstance(group, dict) for group in groups)):
        raise UserError(
            f'{source} holds no state of a training to resume (it was published, averaged or '
            'converted, or is damaged); start from its weights instead: leave --resume out and '
            f'give --cfg-options load_from={source}')
    return place


def _check_groups(wrapper: Any, saved: dict, source: str) -> None:
    """Raise if a checkpoint's groups of parameters are not those of the config."""
    groups, theirs = getattr(wrapper, 'param_groups', None), saved.get('param_groups')
    if not isinstance(groups, list) or theirs is None:
        return  # of several optimizers
    sizes = [[len(group.get('params', ())) for group in some] for some in (groups, theirs)]
    if isinstance(getattr(wrapper, 'base_param_settings', None), dict):
        sizes[0] = sizes[0][:len(wrapper.optimizer.param_groups)]
    if sizes[0] != sizes[1]:
        raise UserError(
            f'{source} was trained with {len(sizes[1])} groups of parameters, the config makes '
            f'{len(sizes[0])} (another paramwise_cfg, constructor or model): resume with the '
            'config that the training was begun with, a copy of it lies in its work folder, or '
            f'start from the weights: leave --resume out and give --cfg-options load_from={source}')


def _settings(state: dict) -> dict:
    return {key: value for key, value in state.items() if key not in _PLACE}


def _same(scheduler: Any, saved: Any) -> bool:
    """Whether a scheduler of the config has the settings that were saved."""
    if not isinstance(saved, dict):
        return False
    ours, theirs = _settings(scheduler.state_dict()), _settings(saved)
    return ours.keys() == theirs.keys() and all(
        _equal(value, theirs[key]) for key, value in ours.items())


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, (list, tuple)) and isinstance(other, (list, tuple)):
        return len(one) == len(other) and all(map(_equal, one, other))
    if isinstance(one, float) and isinstance(other, (int, float)):
        return abs(one - other) <= 1e-9 * abs(one)
    if callable(one):  # a function is saved by its name
        return True
    return bool(one == other)


def _recompute(schedulers: List[Any], checkpoint: dict, source: str, epoch: int,
               iteration: int) -> None:
    """Put the values of the config's schedule at a place of it into a checkpoint."""
    groups = schedulers[0].optimizer.param_groups if schedulers else []
    saved = list(checkpoint['optimizer'].get('param_groups') or ())
    base = checkpoint['optimizer'].get('base_param_settings')
    if isinstance(base, dict):  # mmengine's wrapper schedules it as one more group
        saved.append(base)
    if not groups or len(saved) != len(groups) or any(
            'ReduceOnPlateau' in type(item).__name__ for item in schedulers):
        raise UserError(f'the schedule of the config is not that of {source} and cannot be '
                        'recomputed; resume with the settings that the training was begun with.')
    # groups of equal values have equal schedules; there is one for each parameter
    kinds: Dict[str, int] = {}
    rows = [kinds.setdefault(_kind(group), len(kinds)) for group in groups]
    first = [rows.index(kind) for kind in range(len(kinds))]
    small = SimpleNamespace(param_groups=[
        {key: value for key, value in groups[row].items() if key != 'params'} for row in first],
        step=SimpleNamespace(_with_counter=True), _global_step=0)
    moved = [_on(item, small, first, len(groups)) for item in schedulers]
    _step(moved, epoch, iteration)
    for group, kind in zip(saved, rows):
        group.update({key: value for key, value in small.param_groups[kind].items()
                      if key in ('lr', 'momentum', 'betas') or key.startswith('initial_')
                      or any(key == item.param_name for item in moved)})
    checkpoint['param_schedulers'] = [
        dict(item.state_dict(), last_step=copied.last_step, _global_step=copied._global_step,
             _last_value=[copied._last_value[kind] for kind in rows])
        for item, copied in zip(schedulers, moved)]


def _kind(group: dict) -> str:
    return repr(sorted((key, repr(value)) for key, value in group.items() if key != 'params'))


def _on(scheduler: Any, optimizer: Any, rows: List[int], count: int) -> Any:
    """Return a copy of a scheduler for some of an optimizer's groups."""
    other = copy.copy(scheduler)
    for key, value in vars(scheduler).items():
        if isinstance(value, list) and len(value) == count:
            setattr(other, key, [value[row] for row in rows])
    other.optimizer = optimizer
    return other


def _step(schedulers: List[Any], epoch: int, iteration: int) -> None:
    """Step fresh schedulers as the training has stepped them."""
    by_epoch = [item for item in schedulers if item.by_epoch]
    by_iter = [item for item in schedulers if not item.by_epoch]
    per_epoch = max(1, iteration // epoch) if epoch else iteration + 1
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')  # of steps without an optimizer
        done = 0
        for number in range(1, iteration + 1):
            for item in by_iter:
                item.step()
            if number % per_epoch == 0 and done < epoch:
                done += 1
                for item in by_epoch:
                    item.step()


def _rates(checkpoint: dict) -> List[float]:
    groups = checkpoint['optimizer'].get('param_groups') or []
    return sorted({float(group['lr']) for group in groups if 'lr' in group})


def _show(rates: List[float]) -> str:
    if not rates:
        return 'that of the config'
    return f'{rates[0]:.3g}' if len(rates) == 1 else f'{rates[0]:.3g} to {rates[-1]:.3g}'
