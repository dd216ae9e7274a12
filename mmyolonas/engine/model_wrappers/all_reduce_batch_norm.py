"""Batch norm over the images of all processes, on any device and backend."""
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.nn.functional import all_reduce


class AllReduceBatchNorm(nn.modules.batchnorm._BatchNorm):
    """What :class:`torch.nn.SyncBatchNorm` does, without a GPU.

    PyTorch's kernels for it exist for accelerators alone. Here mean and variance
    are all-reduced one after the other (so that no precision is lost in a
    difference of squares) and so are their gradients: the result is that of one
    process with all images, but for rounding.
    """

    def _check_input_dim(self, x: Tensor) -> None:
        if x.dim() < 2:
            raise ValueError(f'expected an input of at least 2 dimensions, got {x.dim()}')

    def forward(self, x: Tensor) -> Tensor:
        """Return the normalised (B, C, ...) input."""
        if not self.training or not dist.is_initialized() or dist.get_world_size() == 1:
            return super().forward(x)
        dims = [0, *range(2, x.dim())]
        shape = [1, -1] + [1] * (x.dim() - 2)
        values = x.float()
        count = values.new_tensor([x.numel() / x.shape[1]])
        total = all_reduce(torch.cat([values.sum(dims), count]))
        number = total[-1].detach()
        mean = total[:-1] / number
        values = values - mean.view(shape)
        var = all_reduce(values.square().sum(dims)) / number
        self._track(mean.detach(), var.detach() * number / (number - 1).clamp(min=1))
        scale = torch.rsqrt(var + self.eps)
        if self.affine:
            scale = scale * self.weight
            return torch.addcmul(self.bias.view(shape), values, scale.view(shape)).to(x.dtype)
        return (values * scale.view(shape)).to(x.dtype)

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor) -> None:
        if not self.track_running_stats:
            return
        self.num_batches_tracked.add_(1)
        factor = self.momentum
        if factor is None:  # a plain average over all batches
            factor = 1.0 / float(self.num_batches_tracked)
        self.running_mean.lerp_(mean.to(self.running_mean), factor)
        self.running_var.lerp_(var.to(self.running_var), factor)


def synchronise_batch_norms(module: nn.Module) -> nn.Module:
    """Replace every batch norm by an :class:`AllReduceBatchNorm` with the same tensors.

    Returns:
        nn.Module: The module; another one only if it is a batch norm itself.
    """
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        norm = AllReduceBatchNorm(module.num_features, module.eps, module.momentum, module.affine,
                                  module.track_running_stats)
        norm._parameters.update(module._parameters)
        norm._buffers.update(module._buffers)
        return norm.train(module.training)
    for name, child in module.named_children():
        setattr(module, name, synchronise_batch_norms(child))
    return module
