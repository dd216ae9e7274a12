"""Imported by a training in a process of its own, this makes it compute in double precision."""
import torch

torch.set_default_dtype(torch.float64)
torch.Tensor.float = torch.Tensor.double
