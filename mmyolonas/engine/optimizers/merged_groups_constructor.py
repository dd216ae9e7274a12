"""Parameter groups of equal options as one."""
from typing import Any, Dict, List

from mmengine.optim import DefaultOptimWrapperConstructor
from torch import nn

from mmyolonas.registry import OPTIM_WRAPPER_CONSTRUCTORS


@OPTIM_WRAPPER_CONSTRUCTORS.register_module()
class MergedGroupsConstructor(DefaultOptimWrapperConstructor):
    """mmengine's constructor with groups of equal options merged.

    With ``paramwise_cfg`` mmengine makes a group of every parameter, and optimisers work
    through their groups one by one: kernels that would update a hundred tensors at once are
    started for each, and schedules go through as many groups in every step. The updates are
    the same, the order in the optimiser's state is another: a training is resumed with the
    constructor that it was begun with.

    Args:
        optim_wrapper_cfg (dict): As of
            :class:`mmengine.optim.DefaultOptimWrapperConstructor`.
        paramwise_cfg (dict, optional): The same.
    """

    def add_params(self, params: List[Dict[str, Any]], module: nn.Module, prefix: str = '',
                   **kwargs: Any) -> None:
        """Add the parameters of a module; at the end, merge.

        Args:
            params (list[dict]): Groups; it is changed in place.
            module (nn.Module): Whose parameters are added.
            prefix (str): Its name; empty for the whole model.
            **kwargs: What mmengine hands down.
        """
        super().add_params(params, module, prefix, **kwargs)
        if prefix:
            return
        merged: Dict[str, Dict[str, Any]] = {}
        for group in params:
            options = {key: value for key, value in group.items() if key != 'params'}
            whole = merged.setdefault(repr(sorted(options.items())), dict(options, params=[]))
            whole['params'] += group['params']
        params[:] = merged.values()
