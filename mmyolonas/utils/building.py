"""Models and data sets from a config, without a runner."""
from mmengine.config import Config
from mmengine.registry import DATASETS, MODELS, init_default_scope
from torch import nn
from torch.utils.data import Dataset

from mmyolonas.utils.errors import UserError


def set_scope(cfg: Config) -> None:
    """Make the config's default scope the current one."""
    init_default_scope(cfg.get('default_scope') or 'mmdet')


def build_model(cfg: Config) -> nn.Module:
    """Build the model of a config; pre-trained parts (``init_cfg``) are not loaded.

    Raises:
        UserError: The config has no model.
    """
    if 'model' not in cfg:
        raise UserError('the config has no model.')
    set_scope(cfg)
    return MODELS.build(cfg.model)


def build_dataset(cfg: Config, loader: str = 'train_dataloader') -> Dataset:
    """Build the data set of one of a config's data loaders.

    Raises:
        UserError: The config has no such loader.
    """
    if not cfg.get(loader):
        raise UserError(f'the config has no {loader}.')
    set_scope(cfg)
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
