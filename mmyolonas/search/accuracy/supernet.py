"""One model that holds the weights of every architecture of a space.

It is registered from here, not from ``mmyolonas.models``: it needs the space and the
slices, which stand on a higher floor than the models. The configs that train it say so in
``custom_imports``, so nobody else imports the search, and ``locations`` of the registry,
by which every model that is built would, stays as it is.
"""
import copy
from itertools import product
from typing import Any, Dict, List, Mapping, Optional, Sequence

import numpy as np
import torch
from mmengine.logging import MessageHub
from mmengine.model import BaseModel
from mmengine.registry import DefaultScope
from torch import Tensor, nn
from torch.func import functional_call

from mmyolonas.engine.distillation import (
    DistillationTerms,
    StudentTap,
    TermSettings,
    as_teacher,
    find_head,
)
from mmyolonas.engine.hooks.distillation_hook import DETECTION_WEIGHTS, POSE_WEIGHTS
from mmyolonas.registry import MODELS
from mmyolonas.search.accuracy.batch_resize import resize_batch
from mmyolonas.search.accuracy.slicing import shapes_of, slice_state
from mmyolonas.search.space.architecture import without_weights
from mmyolonas.search.space.encoding import Architecture, Genome, decode

#: Parts that a search of heads keeps as they are.
TRUNK = ('backbone', 'neck')
#: Choices whose first and last value have weights of other names or of other widths.
_FORMS = ('head.shared_stem', 'head.convs')


class _Templates(dict):
    """Models that lend their structure; a copy of the supernet makes its own."""

    def __deepcopy__(self, memo: dict) -> '_Templates':
        return _Templates()

    def __reduce__(self) -> tuple:
        return _Templates, ()


@MODELS.register_module()
class Supernet(BaseModel):
    """Weights of the largest architecture, trained so that every part of it works.

    Each step trains the largest architecture, the smallest and some random ones (the
    sandwich rule of BigNAS, arXiv:2003.11142) on the same batch. All learn from the
    annotations; the smaller ones also from what the largest just predicted, by the terms
    of :mod:`mmyolonas.engine.distillation`. Which ones are drawn depends on the seed and
    the iteration alone: it is the same in every process and after resuming.

    A part is run by :func:`torch.func.functional_call` on the ordinary model of its
    architecture with slices of these parameters (:mod:`~mmyolonas.search.accuracy.slicing`).
    The names in the state dict are those of the largest architecture. Norms use the
    statistics of the batch; there are no running ones, because those of one architecture
    mean nothing to another (:func:`mmyolonas.search.accuracy.inherited.inherit`).

    Args:
        model (dict): Config of any model of the task; its architecture is replaced.
        task (str): ``'detection'`` or ``'pose'``.
        genes (dict): Values of every choice, smallest first, ``input_size`` among them.
        seed (int): Seed of the architectures that are drawn. Defaults to 0.
        num_random (int): Random architectures of a step. Defaults to 2.
        teach (float): Weight of what is learnt from the largest; 0 for nothing.
            Defaults to 1.
        frozen_trunk (bool): Whether backbone and neck, which must have one value for
            each choice, keep their weights and statistics, as loaded by ``load_from``.
            Defaults to False.
    """

    def __init__(self, model: dict, task: str, genes: Mapping[str, Sequence[Any]], seed: int = 0,
                 num_random: int = 2, teach: float = 1., frozen_trunk: bool = False) -> None:
        model = copy.deepcopy(dict(model))
        super().__init__(model.get('data_preprocessor'))
        self.model_cfg, self.task = model, task
        self.genes = {name: tuple(values) for name, values in genes.items()}
        self.seed, self.num_random, self.teach = seed, num_random, teach
        self.frozen_trunk = frozen_trunk
        scope = DefaultScope.get_current_instance()
        self._scope = scope.scope_name if scope is not None else None
        self._templates = _Templates()
        self._count = 0
        if frozen_trunk and any(len(values) > 1 for name, values in self.genes.items()
                                if not name.startswith('head') and name != 'input_size'):
            raise ValueError('Supernet: a frozen trunk must be the same for all architectures; '
                             'give one value for each choice of backbone and neck.')
        self._hold(self._corners())
        if frozen_trunk:
            for name in TRUNK:
                getattr(self, name).requires_grad_(False)
        self.train()

    # ----------------------------------------------------------------- weights
    def largest(self) -> Genome:
        """Return the last value of every choice; of stems the two separate ones."""
        genome = {name: values[-1] for name, values in self.genes.items()}
        if len(self.genes.get('head.shared_stem', ())) > 1:
            genome['head.shared_stem'] = False
        return genome

    def _corners(self) -> List[nn.Module]:
        """Return the largest architecture and the other forms of its head."""
        forms = [name for name in _FORMS if len(self.genes.get(name, ())) > 1]
        corners = [self.largest()]
        corners += [dict(self.largest(), **dict(zip(forms, values)))
                    for values in product(*(self.genes[name][::len(self.genes[name]) - 1]
                                            for name in forms))]
        return [self._build(genome) for genome in corners]

    def _hold(self, corners: Sequence[nn.Module]) -> None:
        """Take over the modules of the largest model and what the other forms have besides."""
        whole = corners[0]
        for model in corners[1:]:
            for name, parameter in model.named_parameters():
                path, _, leaf = name.rpartition('.')
                owner = _module(whole, model, path)
                own = getattr(owner, leaf)
                if any(a > b for a, b in zip(parameter.shape, own.shape)):
                    setattr(owner, leaf, parameter)
        for name, child in whole.named_children():
            if name != 'data_preprocessor':
                self.add_module(name, child)
                if not (self.frozen_trunk and name in TRUNK):
                    _drop_statistics(child)

    def _build(self, genome: Genome) -> nn.Module:
        """Return an architecture's ordinary model; names mean what they meant at first."""
        with DefaultScope.overwrite_default_scope(self._scope):
            return MODELS.build(self._config(genome))

    def _config(self, genome: Genome) -> dict:
        """Return the config of an architecture's model."""
        tables = decode(genome, self.task)
        model = copy.deepcopy(self.model_cfg)
        model['backbone']['arch'] = tables['backbone']
        model['neck']['arch'] = tables['neck']
        model['bbox_head' if self.task == 'detection' else 'head'].update(tables['head'])
        return model

    def state_of(self, genome: Genome, shapes: Optional[Mapping] = None) -> Dict[str, Tensor]:
        """Return the slices that an architecture uses, by the names of its own model.

        Args:
            genome (dict): The architecture.
            shapes (Mapping, optional): Of its model's state, if known.
        """
        if shapes is None:
            shapes = shapes_of(self.template(genome))
        state = dict(self.named_parameters())
        if self.frozen_trunk:
            state.update(self.named_buffers())
        return slice_state(state, shapes, decode(genome, self.task),
                           decode(self.largest(), self.task))

    def build(self, genome: Genome) -> nn.Module:
        """Return an ordinary model of an architecture with its slices, without statistics."""
        with torch.device(self._device()), without_weights():
            model = self._build(genome)
        for module in model.modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                module.reset_running_stats()
        state = {key: value.detach().clone()
                 for key, value in self.state_of(genome, shapes_of(model)).items()}
        model.load_state_dict(state, strict=False)
        return model

    def template(self, genome: Genome) -> nn.Module:
        """Return the model whose structure runs an architecture; its weights mean nothing."""
        with torch.device(self._device()), without_weights():
            model = self._build(genome)
        _drop_statistics(model)
        model.train()
        if self.frozen_trunk:
            for name in TRUNK:
                setattr(model, name, getattr(self, name).eval())
        return model

    def _device(self) -> torch.device:
        return next(self.parameters()).device

    # ---------------------------------------------------------------- training
    def train(self, mode: bool = True) -> 'Supernet':
        """Set training mode; a frozen trunk stays as it is used."""
        super().train(mode)
        if self.frozen_trunk:
            for name in TRUNK:
                getattr(self, name).eval()
        return self

    def draw(self, iteration: int) -> List[Genome]:
        """Return the architectures of a step, the largest first, all of one input size."""
        rng = np.random.default_rng((self.seed, iteration))
        sizes = self.genes['input_size']
        size = sizes[rng.integers(len(sizes))]
        found = [self.largest(), {name: values[0] for name, values in self.genes.items()}]
        found += [{name: values[rng.integers(len(values))] for name, values in self.genes.items()}
                  for _ in range(self.num_random)]
        return [dict(genome, input_size=size) for genome in found]

    def forward(self, inputs: Tensor, data_samples: Optional[list] = None,
                mode: str = 'tensor') -> Dict[str, Tensor]:
        """Return the losses of a step.

        Args:
            inputs (Tensor): Images (B, 3, H, W), the larger side the largest input size.
            data_samples (list, optional): As the ordinary model takes them.
            mode (str): ``'loss'``.

        Returns:
            dict[str, Tensor]: ``loss_largest``, ``loss_smallest``, ``loss_random`` and
            ``loss_kd``, each divided by the number of architectures.

        Raises:
            NotImplementedError: Another mode: a supernet has no statistics of its own.
        """
        if mode != 'loss':
            raise NotImplementedError(
                'a supernet is trained, not used: take an architecture out of it with '
                'tools/search.py search, or mmyolonas.search.accuracy.inherited.inherit.')
        iteration = MessageHub.get_current_instance().runtime_info.get('iter')
        if iteration is None:
            iteration, self._count = self._count, self._count + 1
        genomes = self.draw(int(iteration))
        inputs, data_samples = resize_batch(inputs, data_samples, genomes[0]['input_size'])
        return self._sandwich(genomes, inputs, data_samples)

    def _sandwich(self, genomes: Sequence[Genome], inputs: Tensor,
                  data_samples: list) -> Dict[str, Tensor]:
        names = ['largest', 'smallest', *['random'] * self.num_random]
        totals: Dict[str, Tensor] = {}
        opinion: List[Any] = []
        for name, genome in zip(names, genomes):
            for kind, value in self._part_losses(genome, inputs, data_samples, opinion).items():
                key = 'loss_kd' if kind.startswith('loss_kd') else f'loss_{name}'
                totals[key] = totals.get(key, 0.) + value / len(genomes)
        # what no architecture of this step reads stays in the graph, which DDP needs
        idle = sum(p.sum() for p in self.parameters() if p.requires_grad) * 0
        totals['loss_largest'] = totals['loss_largest'] + idle
        return totals

    def _part_losses(self, genome: Genome, inputs: Tensor, data_samples: list,
                     opinion: List[Any]) -> Dict[str, Tensor]:
        """Return the losses of one architecture; the first one of a step leaves its opinion."""
        model = self._template_of(genome)
        head = find_head(model)
        if opinion:
            weights = POSE_WEIGHTS if self.task == 'pose' else DETECTION_WEIGHTS
            weights = {name: self.teach * value for name, value in weights.items()}
            compare: Any = DistillationTerms(head, TermSettings(weights=weights))
        else:
            def compare(outputs: Any, _: Any) -> Dict[str, Tensor]:
                opinion.append(as_teacher(head, outputs))
                return {}
        tap = StudentTap(model, head, lambda _: opinion[0] if opinion else None, compare)
        tap.factor = 1. if self.teach or not opinion else 0.
        try:
            losses = functional_call(model, self.state_of(genome, model.shapes),
                                     (inputs, data_samples), dict(mode='loss'))
        finally:
            tap.remove()
        return {name: sum(value) if isinstance(value, (list, tuple)) else value
                for name, value in losses.items() if 'loss' in name}

    def _template_of(self, genome: Genome) -> nn.Module:
        """Return a template; those of every step are kept."""
        genome = {name: value for name, value in genome.items() if name != 'input_size'}
        key = tuple(genome.items())
        if key in self._templates:
            return self._templates[key]
        genome = dict(genome, input_size=self.genes['input_size'][0])
        model = self.template(genome)
        # without the statistics, and without what a frozen trunk keeps by itself
        model.__dict__['shapes'] = {
            name: tuple(value.shape) for name, value in model.named_parameters()
            if not (self.frozen_trunk and name.partition('.')[0] in TRUNK)}
        if all(genome[name] in (values[0], self.largest()[name])
               for name, values in self.genes.items() if name != 'input_size') and \
                len(self._templates) < 2:
            self._templates[key] = model
        return model


def whole_architecture(supernet: Supernet) -> Architecture:
    """Return the tables of the architecture that holds the weights."""
    return decode(supernet.largest(), supernet.task)


def _module(root: nn.Module, other: nn.Module, path: str) -> nn.Module:
    """Return the module at a path; what is missing is taken from another model."""
    parts = path.split('.')
    for index, name in enumerate(parts):
        if not hasattr(root, name):
            root.add_module(name, other.get_submodule('.'.join(parts[:index + 1])))
        root = getattr(root, name)
    return root


def _drop_statistics(model: nn.Module) -> None:
    """Let norms use the statistics of the batch and keep none."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            module.track_running_stats = False
            module.running_mean = module.running_var = module.num_batches_tracked = None
