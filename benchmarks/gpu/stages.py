"""The stages, ordered by worth."""
import importlib
from dataclasses import dataclass
from typing import Dict, List

from benchmarks.gpu.items import Item, Settings


@dataclass(frozen=True)
class Stage:
    """A stage: a module with ``items(settings)`` and ``run(key, settings)``.

    Args:
        name (str): Module of this package, and the name for ``--stages``.
        title (str): What it measures.
        weight (float): Its share of a run's time, relative to the stages that are still open.
            What a stage leaves goes to those behind it.
    """
    name: str
    title: str
    weight: float

    @property
    def module(self):
        """module: What does the work."""
        return importlib.import_module(f'benchmarks.gpu.{self.name}')

    def items(self, settings: Settings) -> List[Item]:
        """Return the items in order of worth."""
        return self.module.items(settings)


STAGES: Dict[str, Stage] = {stage.name: stage for stage in (
    Stage('sanity', 'outputs, losses, gradients, precisions, EMA, resuming', 3),
    Stage('speed', 'training steps against peers, share of data loading, slowest parts', 6),
    Stage('accuracy', 'trainings to convergence, distillation, pseudo-labels, QAT', 12),
    Stage('latency', 'PyTorch, torch.compile and ONNX Runtime', 4),
    Stage('tensorrt', 'engines: fp16, int8 full and selective, NMS, layer times', 3),
    Stage('search', 'operator tables, training of a supernet', 4),
)}
