"""Scores of untrained networks that may tell which of them will train well.

Written from the papers. None is taken on trust: ``tools/search.py rungs`` correlates
each with short trainings and with the number of parameters and FLOPs.
"""
import copy
import math
from dataclasses import dataclass
from typing import Any, Callable, Dict, Iterator, List, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmyolonas.search.accuracy.entropy import entropy

#: Returns the loss of a batch; its gradients are what ZiCo looks at.
Loss = Callable[[nn.Module], Tensor]


@dataclass
class ScoreData:
    """What some scores look at.

    Args:
        images (Tensor): Normalised images (B, 3, H, W), the same for all models.
        losses (list[Callable]): Take a model, return the loss of a batch each.
    """
    images: Tensor
    losses: List[Loss]


@dataclass(frozen=True)
class Score:
    """A training-free score; a larger value is to mean a better network.

    Args:
        name (str): Short name.
        compute (Callable): Takes model and :class:`ScoreData`.
        source (str): Paper.
        free (bool): Whether it needs no weights, so that a model without memory
            (``meta`` device) will do and thousands take seconds.
    """
    name: str
    compute: Callable[[nn.Module, Any], float]
    source: str
    free: bool = False


def features(model: nn.Module, images: Tensor) -> Sequence[Tensor]:
    """Return all outputs of a detector's or pose estimator's head levels."""
    head = model.bbox_head if hasattr(model, 'bbox_head') else model.head
    feats = model.neck(model.backbone(images))
    return [output for level, feat in zip(head.levels, feats) for output in level(feat)]


# ------------------------------------------------------------------------- NASWOT
@torch.no_grad()
def naswot(model: nn.Module, data: ScoreData) -> float:
    """Return how differently the ReLUs see different images.

    Mellor et al., Neural Architecture Search without Training, ICML 2021,
    https://arxiv.org/abs/2006.04647: the logarithm of the determinant of the
    kernel whose entry (i, j) counts the units that are on for both images or off
    for both. Batch norm works on the batch.
    """
    kernel = torch.zeros(len(data.images), len(data.images), dtype=torch.float64)

    def count(_: nn.Module, __: Any, output: Tensor) -> None:
        on = (output > 0).flatten(1).float()
        both = on @ on.T
        once = on.sum(1)
        # off for both = all - on for i - on for j + on for both
        kernel.add_((2 * both + on.shape[1] - once[:, None] - once[None]).double())

    hooks = [module.register_forward_hook(count) for module in model.modules()
             if isinstance(module, nn.ReLU)]
    try:
        with _mode(model, training=True):
            features(model, data.images)
    finally:
        for hook in hooks:
            hook.remove()
    return float(torch.linalg.slogdet(kernel)[1])


# --------------------------------------------------------------------------- ZiCo
def zico(model: nn.Module, data: ScoreData) -> float:
    """Return how large and how steady the gradients of different batches are.

    Li et al., ZiCo: Zero-shot NAS via Inverse Coefficient of Variation on
    Gradients, ICLR 2023, https://arxiv.org/abs/2301.11300, equation 15: the sum over
    the layers of the logarithm of the sum over the weights of mean over standard
    deviation of the gradients' absolute values. Weights that never vary are left out.
    """
    weights = [module.weight for module in model.modules()
               if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear))
               and module.weight.requires_grad]
    total = [torch.zeros_like(weight) for weight in weights]
    squares = [torch.zeros_like(weight) for weight in weights]
    with _mode(model, training=True):
        for loss in data.losses:
            gradients = torch.autograd.grad(loss(model), weights, allow_unused=True)
            for index, gradient in enumerate(gradients):
                if gradient is not None:
                    total[index] += gradient.abs()
                    squares[index] += gradient.square()
    return zico_of_moments(total, squares, len(data.losses))


def zico_of_moments(total: Sequence[Tensor], squares: Sequence[Tensor], count: int) -> float:
    """Return ZiCo from sums over batches.

    Args:
        total (Sequence[Tensor]): Sum of the absolute gradients of each layer's weights.
        squares (Sequence[Tensor]): Sum of their squares.
        count (int): Number of batches, at least 2.
    """
    if count < 2:
        raise ValueError(f'ZiCo compares the gradients of batches: it needs 2, got {count}.')
    score = 0.
    for sums, square in zip(total, squares):
        mean = sums / count
        variance = square / count - mean.square()
        # below what single precision can tell from no variance at all
        varies = variance > 1e-7 * mean.square()
        ratio = float((mean[varies] / variance[varies].sqrt()).sum())
        if ratio > 0:
            score += math.log(ratio)
    return score


# ------------------------------------------------------------------------ SynFlow
def synflow(model: nn.Module, data: ScoreData) -> float:
    """Return the logarithm of the flow through all paths of absolute weights.

    Tanaka et al., Pruning neural networks without any data by iteratively
    conserving synaptic flow, NeurIPS 2020, https://arxiv.org/abs/2006.05467; as a
    score of whole networks Abdelfattah et al., Zero-Cost Proxies for Lightweight
    NAS, ICLR 2021. Weights become absolute, biases and normalisation are taken
    out, the image is of ones; the score is the sum of weight times gradient of the
    summed output. Sums are formed in double precision.
    """
    model = copy.deepcopy(model).double().eval()
    _without_norm(model)
    weights = []
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
                module.weight.abs_()
                weights.append(module.weight)
                if module.bias is not None:
                    module.bias.zero_()
    images = torch.ones_like(data.images[:1], dtype=torch.float64)
    output = sum(x.sum() for x in features(model, images))
    gradients = torch.autograd.grad(output, weights, allow_unused=True)
    flow = sum(float((weight.detach() * gradient).sum())
               for weight, gradient in zip(weights, gradients) if gradient is not None)
    return math.log(flow) if flow > 0 else -math.inf


def _without_norm(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.modules.batchnorm._BatchNorm):
            setattr(module, name, nn.Identity())
        else:
            _without_norm(child)


class _mode:
    """Sets training mode and restores it together with all running statistics."""

    def __init__(self, model: nn.Module, training: bool) -> None:
        self.model, self.training = model, training

    def __enter__(self) -> None:
        self.before = self.model.training
        self.buffers = {name: value.clone() for name, value in self.model.named_buffers()}
        self.model.train(self.training)

    def __exit__(self, *_) -> None:
        self.model.train(self.before)
        with torch.no_grad():
            for name, value in self.model.named_buffers():
                value.copy_(self.buffers[name])


SCORES: Dict[str, Score] = {score.name: score for score in (
    Score('entropy', lambda model, data: entropy(model),
          'Sun et al., ICML 2022, arXiv:2111.13336', free=True),
    Score('naswot', naswot, 'Mellor et al., ICML 2021, arXiv:2006.04647'),
    Score('zico', zico, 'Li et al., ICLR 2023, arXiv:2301.11300'),
    Score('synflow', synflow, 'Tanaka et al., NeurIPS 2020, arXiv:2006.05467'))}


def score_data(batches: Iterator[dict], preprocess: Callable[[dict, bool], dict],
               count: int = 2) -> ScoreData:
    """Make what the scores look at from batches of a data loader.

    Args:
        batches (Iterator[dict]): Batches as a data loader gives them.
        preprocess (Callable): A model's data preprocessor.
        count (int): Number of batches. Defaults to 2.
    """
    ready = [preprocess(next(batches), True) for _ in range(count)]
    height = max(data['inputs'].shape[2] for data in ready)
    width = max(data['inputs'].shape[3] for data in ready)
    images = torch.cat([F.pad(x, (0, width - x.shape[3], 0, height - x.shape[2]))
                        for x in (data['inputs'] for data in ready)])

    def loss_of(data: dict) -> Loss:
        def loss(model: nn.Module) -> Tensor:
            losses = model.loss(data['inputs'], data['data_samples'])
            return sum(value for name, value in losses.items() if 'loss' in name)
        return loss

    return ScoreData(images, [loss_of(data) for data in ready])
