"""Accuracy of an architecture with the weights it inherits from a supernet."""
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import torch
from mmengine.config import Config
from torch import nn

from mmyolonas.quantization.choice.scoring import Scorer
from mmyolonas.quantization.ranges.images import Sample, load_samples
from mmyolonas.search.accuracy.halves import split_halves
from mmyolonas.search.accuracy.recipe import Recipe
from mmyolonas.search.accuracy.supernet_training import load_supernet
from mmyolonas.search.space.encoding import Genome
from mmyolonas.search.space.space import Space, genome_key
from mmyolonas.utils.building import switch_to_deploy
from mmyolonas.utils.files import PathLike, atomic_path, file_digest
from mmyolonas.utils.shared_records import SharedRecords

#: Training images whose statistics an architecture's norms get, and ranges its tensors.
RECALIBRATION, CALIBRATION = 64, 32
_BATCH = 32


@torch.no_grad()
def recalibrate(model: nn.Module, batches: Sequence[torch.Tensor],
                parts: Sequence[str] = ('backbone', 'neck', 'bbox_head', 'head')) -> nn.Module:
    """Set the statistics of norms to those of images, and return the model for use.

    Args:
        model (nn.Module): Changed in place.
        batches (Sequence[Tensor]): Network inputs (B, 3, H, W); each counts alike.
        parts (Sequence[str]): Parts of the model whose norms are set; others keep theirs.
    """
    model.eval()
    before = {}
    for name in parts:
        for module in getattr(model, name, nn.Identity()).modules():
            if isinstance(module, nn.modules.batchnorm._BatchNorm):
                before[module] = module.momentum
                module.reset_running_stats()
                module.momentum = None  # the plain mean over the batches
                module.train()
    head = model.bbox_head if hasattr(model, 'bbox_head') else model.head
    for batch in batches:
        head(model.extract_feat(batch))
    for module, momentum in before.items():
        module.momentum = momentum
    return model.eval()


class Inherited:
    """Scores architectures with a supernet's weights; what was scored is kept in a file.

    An architecture is sliced, its norms are recalibrated with training images as the test
    pipeline makes them, and it is fused as it would be deployed. The search sees AP on one
    half of the validation images (``select``).

    Args:
        recipe (Recipe): Images.
        space (Space): Architectures.
        folder (str | Path): Of the supernet's training.
        path (str | Path): File of the scores, shared by processes.
    """

    def __init__(self, recipe: Recipe, space: Space, folder: PathLike, path: PathLike) -> None:
        self.recipe, self.space = recipe, space
        self.supernet, self.checkpoint = load_supernet(folder)
        self.fingerprint = f'{file_digest(self.checkpoint)[:12]}-{recipe.fingerprint}'
        self.records = SharedRecords(path)
        self._images: Dict[int, Any] = {}
        self._recalibration: Dict[int, List[torch.Tensor]] = {}

    def inherit(self, genome: Genome) -> nn.Module:
        """Return an architecture's ordinary model with its slices, ready for use."""
        model = self.supernet.build(self.space.check(genome))
        parts = ('bbox_head', 'head') if self.supernet.frozen_trunk else (
            'backbone', 'neck', 'bbox_head', 'head')
        return recalibrate(model, self._batches(genome), parts)

    def save(self, genome: Genome, path: PathLike) -> None:
        """Write the checkpoint of an architecture, its norms recalibrated; atomic."""
        from mmyolonas.quantization.ranges.images import build_dataset
        classes = build_dataset(self._config(genome['input_size']), 'train').metainfo
        meta = dict(classes=tuple(classes.get('classes') or ()))
        with atomic_path(path) as temporary:
            torch.save(dict(state_dict=self.inherit(genome).state_dict(),
                            meta=dict(dataset_meta=meta)), str(temporary))

    def score(self, genome: Genome, half: str = 'select') -> float:
        """Return points of AP on a half of the validation images, from the file if there."""
        key = self._key(genome, half)
        record = self.records.get(key)
        if record is None:
            start = time.process_time()
            ap = self.score_model(switch_to_deploy(self.inherit(genome)), genome, half)
            record = self.records.put(key, genome=genome, ap=ap,
                                      seconds=round(time.process_time() - start, 2))
        return record['ap']

    def score_int8(self, genome: Genome, half: str = 'select', runtime: str = 'onnxruntime',
                   threads: int = 1) -> float:
        """Return points of AP of the full INT8 file of an architecture, run by a runtime.

        Ranges come from :data:`CALIBRATION` training images.
        """
        key = self._key(genome, f'{half} int8 {runtime}')
        record = self.records.get(key)
        if record is None:
            start = time.process_time()
            with tempfile.TemporaryDirectory() as folder:
                forward = self._int8_file(genome, Path(folder), runtime, threads)
                scorer = self._scorer(genome['input_size'], half)
                ap = max(scorer.score_file(forward).ap, 0.)
            record = self.records.put(key, genome=genome, ap=ap,
                                      seconds=round(time.process_time() - start, 2))
        return record['ap']

    def score_model(self, model: nn.Module, genome: Genome, half: str = 'select') -> float:
        """Return points of AP of any model of the input size on a half."""
        scorer = self._scorer(genome['input_size'], half)
        found: List[Any] = []
        with torch.no_grad():
            for start in range(0, len(scorer.samples), _BATCH):
                samples = scorer.samples[start:start + _BATCH]
                for same in _same_size(samples):
                    found += model.predict(torch.cat([s.inputs for s in same]),
                                           [s.data_sample for s in same])
        part = scorer.on(range(len(scorer.samples)))
        part.image_ids = [int(sample.img_id) for sample in found]
        return max(part.score_predictions(found).ap, 0.)

    # ------------------------------------------------------------------ images
    def _key(self, genome: Genome, what: str) -> str:
        return f'{genome_key(genome)} {self.fingerprint} {what}'

    def _config(self, size: int) -> Config:
        return self.recipe.config(self.space.decode(dict(self.space.largest(), input_size=size)))

    def _loaded(self, size: int, split: str, count: Optional[int]) -> List[Sample]:
        return list(load_samples(self._config(size), self.supernet, split, count))

    def _scorer(self, size: int, half: str) -> Scorer:
        if size not in self._images:
            samples = self._loaded(size, 'val', None)
            genome = dict(self.space.smallest(), input_size=size)
            self._images[size] = Scorer.from_config(
                self._config(size), self.supernet.build(genome), samples, 'val')
        scorer = self._images[size]
        return scorer.on(split_halves(scorer.image_ids)[half])

    def _batches(self, genome: Genome) -> List[torch.Tensor]:
        size = genome['input_size']
        if size not in self._recalibration:
            from mmyolonas.quantization.ranges.images import build_dataset
            count = min(RECALIBRATION, len(build_dataset(self._config(size), 'train')))
            samples = self._loaded(size, 'train', count)
            self._recalibration[size] = [torch.cat([s.inputs for s in same])
                                         for same in _same_size(samples)]
        return self._recalibration[size]

    def _int8_file(self, genome: Genome, folder: Path, runtime: str, threads: int) -> Any:
        """Write the full INT8 file of an architecture; return what runs it."""
        from mmyolonas.export import export_onnx
        from mmyolonas.export.fusion import fuse_model
        from mmyolonas.quantization import calibrate, quantise_model
        from mmyolonas.quantization.choice.variants import Variants
        fused = fuse_model(self.inherit(genome))
        images = torch.cat(self._batches(genome))[:CALIBRATION]
        path = str(folder / 'float.onnx')
        export_onnx(fused, path, (1, *images.shape[1:]), nms='none', fold_shortcuts=False)
        table = calibrate(quantise_model(fused), images.split(1))
        files = Variants(path, table, runtime, threads)
        return files.open(files.candidates)


def _same_size(samples: Sequence[Sample]) -> List[List[Sample]]:
    """Return samples grouped by the size of their input."""
    groups: Dict[Any, List[Sample]] = {}
    for sample in samples:
        groups.setdefault(tuple(sample.inputs.shape), []).append(sample)
    return list(groups.values())
