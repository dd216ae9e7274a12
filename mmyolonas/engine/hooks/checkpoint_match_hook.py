"""Says what a checkpoint gave the model, and refuses one of another architecture."""
import logging
from typing import Sequence

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper

from mmyolonas.registry import HOOKS
from mmyolonas.utils.checkpoint_match import check_match, describe_match, match_state, state_of


@HOOKS.register_module()
class CheckpointMatchHook(Hook):
    """Check ``load_from`` and ``--resume`` checkpoints before they are loaded.

    mmengine loads what fits and prints long lists of keys. This hook

    * stops if the checkpoint is of another architecture, is a SuperGradients
      file, or holds re-parameterised blocks;
    * with another number of classes keeps everything but the class layers,
      which keep their initial weights, and says so in one sentence.

    Args:
        strict_shapes (bool): Whether tensors of the same name must have the
            same shape (class layers excepted). Defaults to True.
        whole (Sequence[str]): Parts of the model, by the beginning of their tensors' names,
            which the checkpoint must give whole and of the same shapes whatever
            ``strict_shapes`` says. Defaults to none.
    """

    # before the EMA hook, which copies the checkpoint's state dict
    priority = 'HIGH'

    def __init__(self, strict_shapes: bool = True, whole: Sequence[str] = ()) -> None:
        self.strict_shapes, self.whole = strict_shapes, tuple(whole)

    def after_load_checkpoint(self, runner, checkpoint: dict) -> None:
        """Compare the checkpoint with the model; runs before mmengine loads it.

        Raises:
            UserError: The checkpoint does not belong to the model.
        """
        source = str(runner._load_from or 'the checkpoint')
        model = runner.model.module if is_model_wrapper(runner.model) else runner.model
        model_state = model.state_dict()
        state = state_of(checkpoint, source)
        match = match_state(model_state, state)
        check_match(match, source, self.strict_shapes, self.whole)
        if runner._resume and (match.classes or match.reshaped or match.missing):
            print_log(
                f'{describe_match(match, source)} The training that is resumed had another model.',
                logger='current', level=logging.WARNING)
            return
        exact = not (match.classes or match.reshaped or match.missing or match.unexpected)
        if exact or runner._resume:
            return
        print_log(describe_match(match, source), logger='current', level=logging.WARNING)
        # what is left out gets the model's own values, so that neither mmengine nor the EMA
        # hook has anything to report a second and third time
        kept = {key: state[key] for key in match.matched}
        for key, value in model_state.items():
            kept.setdefault(key, value.detach().clone())
        checkpoint['state_dict'] = kept
