"""Training that takes 8 bit into account, as an ordinary mmengine training.

Import this module (``custom_imports`` of the config) to register
``mmyolonas.QuantizedModel`` and ``mmyolonas.QATHook``. Needs nvidia-modelopt.
"""
import os
from typing import Any, Optional, Tuple

import torch
from mmengine.hooks import Hook
from mmengine.model import BaseModule, is_model_wrapper
from torch import nn

import mmyolonas.models  # noqa: F401
from mmyolonas.export.fusion import fuse_model
from mmyolonas.quantization.choice.plan import Plan
from mmyolonas.quantization.ranges.calibration import calibrate
from mmyolonas.quantization.ranges.images import load_samples
from mmyolonas.quantization.ranges.quantizers import QuantizedModel, quantise_model, weight_ranges
from mmyolonas.quantization.table import RangeTable
from mmyolonas.registry import HOOKS, MODELS
from mmyolonas.utils import UserError
from mmyolonas.utils.checkpoint_match import state_of
from mmyolonas.utils.checkpoints import read_checkpoint

_ATTRIBUTE = 'quantization'


@MODELS.register_module(name='QuantizedModel')
def quantized_model(model: dict, plan: Optional[str] = None,
                    data_preprocessor: Optional[dict] = None) -> nn.Module:
    """Build a model with fake-quantisers; the detector itself, not a wrapper.

    Blocks are fused and batch norms folded before the quantisers go in, so its
    state dict has the keys of the fused model and those of the ranges.

    Args:
        model (dict): Config of the float model.
        plan (str, optional): Plan that says which groups are 8 bit; None for
            all but the predictions.
        data_preprocessor (dict, optional): mmengine passes the config's here;
            the float model's own wins.

    Returns:
        nn.Module: The model, in training mode.

    Raises:
        UserError: The plan is for another model.
    """
    model = dict(model)
    if data_preprocessor is not None:
        model.setdefault('data_preprocessor', data_preprocessor)
    fused = fuse_model(MODELS.build(model))
    quantised = quantise_model(fused)
    if plan is not None:
        quantised.apply(Plan.load(plan).selection(quantised.flow))
    # not a module, so that the state dict holds nothing twice
    fused.__dict__[_ATTRIBUTE] = quantised
    for module in fused.modules():
        if isinstance(module, BaseModule):
            module._is_init = True  # the weights come from the float checkpoint
    return fused.train()


def quantization_of(model: nn.Module) -> QuantizedModel:
    """Return the quantisers of a model that ``QuantizedModel`` built.

    Raises:
        UserError: It was not built by it.
    """
    inner: Any = model.module if is_model_wrapper(model) else model
    quantised = inner.__dict__.get(_ATTRIBUTE)
    if quantised is None:
        raise UserError("the model has no quantisers: its type must be 'mmyolonas.QuantizedModel' "
                        'with the float model as its model=.')
    return quantised


def load_float_weights(quantised: QuantizedModel, float_model: nn.Module) -> None:
    """Copy the weights of an unfused float model, and take their ranges.

    Raises:
        UserError: It is of another architecture.
    """
    state = fuse_model(float_model).state_dict()
    own = quantised.model.state_dict()
    expected = {key: value.shape for key, value in own.items()
                if not key.endswith(('_quantizer._amax', 'shortcut._amax', 'drop_path._amax'))}
    if {key: value.shape for key, value in state.items()} != expected:
        raise UserError('the float model is of another architecture than the quantised one.')
    quantised.model.load_state_dict(state, strict=False)
    refresh_weight_ranges(quantised)


@torch.no_grad()
def refresh_weight_ranges(quantised: QuantizedModel) -> None:
    """Set the ranges of the weights to what the weights are now."""
    for layer, quantizer in quantised.weights.items():
        module = quantised.model.get_submodule(layer)
        axis = 1 if isinstance(module, nn.ConvTranspose2d) else 0
        weight = module._parameters['weight']  # the float one, whatever forward makes of it
        assert weight is not None
        quantizer.amax = weight_ranges(weight, axis)


@HOOKS.register_module()
class QATHook(Hook):
    """Start a quantisation-aware training from a float checkpoint.

    Before the first step it loads the float weights into the fused model and
    calibrates the ranges of the activations, which then stay. The ranges of
    the weights follow the weights from epoch to epoch. A resumed training has
    everything in its checkpoint, and the hook loads nothing.

    Args:
        checkpoint (str): Float checkpoint, as training saved it.
        ranges (str, optional): Table of ranges to take instead of calibrating.
        num_images (int): Calibration images. Defaults to 64.
        method (str): See :func:`mmyolonas.quantization.calibrate`. Defaults to
            ``'max'``.
        split (str): Where the images are from, with the test pipeline.
            Defaults to ``'train'``.
    """
    priority = 'HIGH'

    def __init__(self, checkpoint: str, ranges: Optional[str] = None, num_images: int = 64,
                 method: str = 'max', split: str = 'train') -> None:
        self.checkpoint = checkpoint
        self.ranges = ranges
        self.num_images = num_images
        self.method = method
        self.split = split

    def before_train(self, runner: Any) -> None:
        """Load and calibrate, unless the training goes on from a checkpoint."""
        quantised = quantization_of(runner.model)
        if runner.iter > 0:
            return
        if not os.path.isfile(self.checkpoint):
            raise UserError(f'QATHook: no such float checkpoint: {self.checkpoint}; train the '
                            'float model first, or set custom_hooks.0.checkpoint.')
        float_model = MODELS.build(runner.cfg.model.model)
        _load_strictly(float_model, self.checkpoint, 'the float model of this config')
        load_float_weights(quantised, float_model)
        if self.ranges is not None:
            quantised.load(RangeTable.load(self.ranges))
        else:
            images = (sample.inputs for sample in load_samples(
                runner.cfg, quantised.model, self.split, self.num_images))
            calibrate(quantised, images, self.num_images, self.method)
        quantised.model.train()

    def before_train_epoch(self, runner: Any) -> None:
        """Let the ranges of the weights follow the weights."""
        refresh_weight_ranges(quantization_of(runner.model))


def _load_strictly(model: nn.Module, checkpoint: str, owner: str) -> None:
    """Load all weights of a model from a checkpoint."""
    state = state_of(read_checkpoint(checkpoint), checkpoint)
    try:
        model.load_state_dict(state, strict=True)
    except RuntimeError as error:
        first = ' '.join(line.strip() for line in str(error).splitlines()[1:2])
        raise UserError(f'{checkpoint} is no checkpoint of {owner}: {first[:200]}') from error


def load_qat(cfg: Any, checkpoint: str) -> Tuple[nn.Module, nn.Module, RangeTable]:
    """Read a quantisation-aware training: its weights in float, and its ranges.

    Args:
        cfg (Config): Config of the training.
        checkpoint (str): Checkpoint it saved.

    Returns:
        tuple: The fused float model twice (as the unfused and the fused model of
        the callers) and the ranges.

    Raises:
        UserError: The config is none of such a training, or the checkpoint not
            of it.
    """
    from mmengine.registry import init_default_scope
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    if cfg.model.type != 'mmyolonas.QuantizedModel':
        raise UserError('--method qat needs the config of a quantisation-aware training, whose '
                        "model is of type 'mmyolonas.QuantizedModel'.")
    model = MODELS.build(cfg.model)
    _load_strictly(model, checkpoint, 'this training')
    quantised = quantization_of(model)
    fused = fuse_model(MODELS.build(cfg.model.model))
    own = fused.state_dict()
    fused.load_state_dict({key: value for key, value in model.state_dict().items() if key in own})
    return fused, fused, quantised.table('quantisation-aware training')
