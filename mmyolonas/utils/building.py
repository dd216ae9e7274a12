"""Models and data sets from a config, without a runner."""
from typing import Tuple

from mmengine.config import Config
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch import nn
from torch.utils.data import Dataset

from mmyolonas.utils.checkpoint_match import check_match, match_state, meta_of, state_of
from mmyolonas.utils.checkpoints import read_checkpoint
from mmyolonas.utils.configs import config_errors
from mmyolonas.utils.errors import UserError


def set_scope(cfg: Config) -> None:
    """Make the config's default scope the current one."""
    init_default_scope(cfg.get('default_scope') or 'mmdet')


def build_model(cfg: Config) -> nn.Module:
    """Build the model of a config; pre-trained parts (``init_cfg``) are not loaded.

    Raises:
        UserError: The config has no model, or one that cannot be built.
    """
    if 'model' not in cfg:
        raise UserError('the config has no model.')
    set_scope(cfg)
    with config_errors():
        return MODELS.build(cfg.model)


def load_model(cfg: Config, path: str) -> Tuple[nn.Module, dict]:
    """Build the model of a config with a checkpoint's weights, on the CPU.

    A fused checkpoint gives a fused model.

    Args:
        cfg (Config): The config; its ``init_cfg`` of the model is taken out.
        path (str): The checkpoint.

    Returns:
        tuple[nn.Module, dict]: The model and the checkpoint's meta.

    Raises:
        UserError: The file is missing, damaged, or of another model.
    """
    checkpoint = read_checkpoint(path)
    state = state_of(checkpoint, path)
    cfg.model.pop('init_cfg', None)
    if 'init_cfg' in cfg.model.get('backbone', {}):
        cfg.model.backbone.init_cfg = None  # would be overwritten at once
    model = revert_sync_batchnorm(build_model(cfg))
    if any('.rbr_reparam.' in key for key in state) and not any('.branch_3x3.' in key
                                                              for key in state):
        switch_to_deploy(model)  # the checkpoint is fused already
    match = match_state(model.state_dict(), state)
    check_match(match, path)
    if match.classes:
        layer = match.classes[0]
        raise UserError(
            f'{path} has another number of classes or key points than the config: {layer} has '
            f'{len(state[layer])} outputs there, {len(model.state_dict()[layer])} in the model.')
    if match.missing:
        raise UserError(f'{path} lacks {len(match.missing)} tensors of the model, for example '
                        f'{match.missing[0]}; it is not a complete checkpoint of this model.')
    model.load_state_dict(state, strict=False)
    return model, meta_of(checkpoint)


def build_dataset(cfg: Config, loader: str = 'train_dataloader') -> Dataset:
    """Build the data set of one of a config's data loaders.

    Raises:
        UserError: The config has no such loader.
    """
    if not cfg.get(loader):
        raise UserError(f'the config has no {loader}.')
    set_scope(cfg)
    with config_errors():
        dataset = DATASETS.build(cfg[loader].dataset)
    if hasattr(dataset, 'full_init'):
        dataset.full_init()
    return dataset


def switch_to_deploy(model: nn.Module) -> nn.Module:
    """Re-parameterise a model; nothing happens to one that has nothing to fuse."""
    if hasattr(model, 'switch_to_deploy'):
        model.switch_to_deploy()
        return model
    for module in model.modules():
        if module is not model and hasattr(module, 'switch_to_deploy'):
            module.switch_to_deploy(None)
    return model
