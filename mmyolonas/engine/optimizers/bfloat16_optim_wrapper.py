"""Mixed precision that also works on a CPU."""
from contextlib import contextmanager

import torch
from mmengine.optim import OptimWrapper

from mmyolonas.registry import OPTIM_WRAPPERS


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Run the network in bfloat16, on whatever device it is.

    bfloat16 has the range of float32, so no loss scaling is needed. On x86
    processors with AMX or AVX512-BF16 a training step takes about half the
    time of single precision; on others it may be slower. The losses are
    computed in single precision by the heads.

    The arguments are those of :class:`mmengine.optim.OptimWrapper`.
    """

    @contextmanager
    def optim_context(self, model: torch.nn.Module):
        """Enable bfloat16 for the forward pass.

        Args:
            model (nn.Module): The model that is trained.
        """
        device = next(model.parameters()).device.type
        with super().optim_context(model), torch.autocast(device, dtype=torch.bfloat16):
            yield
