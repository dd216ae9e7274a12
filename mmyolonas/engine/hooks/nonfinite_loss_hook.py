"""Stops training when the loss is no longer a number."""
import math
from typing import List, Optional

import torch
from mmengine.hooks import Hook

from mmyolonas.registry import HOOKS
from mmyolonas.utils.errors import UserError


class NonFiniteLossError(UserError):
    """The loss became NaN or infinite."""


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Stop at the first loss that is NaN or infinite, and say where it came from.

    The message names the iteration, the loss terms and the images of the
    batch. Nothing is saved after such a step, so the last checkpoint is good.

    Args:
        patience (int): How many such iterations in a row are let pass. With
            mixed precision the gradient scaler skips these steps, so that a
            few may be harmless. Defaults to 0.
    """

    # before the EMA hook (NORMAL), which would average the broken weights
    priority = 'HIGH'

    def __init__(self, patience: int = 0) -> None:
        self.patience = patience
        self._streak = 0

    def after_train_iter(self,
                         runner,
                         batch_idx: int,
                         data_batch: Optional[dict] = None,
                         outputs: Optional[dict] = None) -> None:
        """Check the loss of one iteration.

        Raises:
            NonFiniteLossError: The loss is not finite, ``patience`` is used up.
        """
        bad = [name for name, value in (outputs or {}).items() if not _is_finite(value)]
        if not bad:
            self._streak = 0
            return
        self._streak += 1
        message = (
            f'the loss is not finite at epoch {runner.epoch + 1}, iteration {runner.iter + 1} '
            f'({", ".join(f"{name} = {_show(outputs[name])}" for name in bad)}); the images '
            f'were {", ".join(image_names(data_batch)) or "unknown"}')
        if self._streak > self.patience:
            raise NonFiniteLossError(
                f'{message}. Training stopped; the last checkpoint is from before this. Look at '
                'the annotations of these images (tools/analysis_tools/browse_dataset.py), lower '
                'the learning rate, lengthen the warm-up or train without mixed precision.')
        runner.logger.warning(f'{message}; {self.patience - self._streak} more are let pass.')


def _is_finite(value) -> bool:
    if isinstance(value, torch.Tensor):
        return bool(torch.isfinite(value).all())
    return not isinstance(value, float) or math.isfinite(value)


def _show(value) -> str:
    if isinstance(value, torch.Tensor):
        value = value.item() if value.numel() == 1 else value.tolist()
    return f'{value}'


def image_names(data_batch: Optional[dict]) -> List[str]:
    """Return the image paths of a batch as the data loader gives it.

    Args:
        data_batch (dict, optional): Batch with ``data_samples``, a list of
            data elements whose metas have ``img_path``.

    Returns:
        list[str]: Paths (or ids) where known.
    """
    samples = (data_batch or {}).get('data_samples') or []
    names = []
    for sample in samples:
        name = getattr(sample, 'img_path', None)
        name = getattr(sample, 'img_id', None) if name is None else name
        if name is not None:
            names.append(str(name))
    return names
