"""Ends the training on images as they will be met."""
from typing import Sequence

from mmcv.transforms import Compose
from mmengine.hooks import Hook
from torch.utils.data import DataLoader

from mmyolonas.datasets.transforms.load_checked_image import use_checked_loading
from mmyolonas.registry import HOOKS


@HOOKS.register_module()
class CloseAugmentationHook(Hook):
    """Give the training data another pipeline in the last epochs.

    Mosaics and blended images are no images that a camera takes; the last epochs, at the
    lowest rates, should see such. mmdet's ``PipelineSwitchHook`` sets the pipeline of
    whatever lies uppermost in the loader, which a ``RepeatDataset`` or a
    ``ClassBalancedDataset`` takes without effect; here the pipelines of the data sets
    below are exchanged. A training that is resumed in its last epochs begins with it.

    Args:
        epochs (int): Length of the end, in epochs.
        pipeline (Sequence[dict]): The pipeline of the end.
    """

    def __init__(self, epochs: int, pipeline: Sequence[dict]) -> None:
        self.epochs = epochs
        self.pipeline = list(pipeline)
        self._closed = False

    def before_train_epoch(self, runner) -> None:
        """Exchange the pipeline when the end begins."""
        if self._closed or runner.epoch < runner.max_epochs - self.epochs:
            return
        for dataset in _leaves(runner.train_dataloader.dataset):
            dataset.pipeline = Compose(self.pipeline)
            use_checked_loading(dataset.pipeline)
        _restart(runner.train_dataloader)
        self._closed = True
        runner.logger.info(f'the last {self.epochs} epochs are without mosaics and blending')


def _leaves(dataset) -> list:
    """Return the data sets below wrappers."""
    parts = getattr(dataset, 'datasets', None) or [getattr(dataset, 'dataset', None)]
    found = [leaf for part in parts if part is not None for leaf in _leaves(part)]
    return found or [dataset]


def _restart(loader: DataLoader) -> None:
    """Let persistent workers, which have copies of the data set, end; new ones follow."""
    iterator = getattr(loader, '_iterator', None)
    if iterator is not None:
        iterator._shutdown_workers()
        loader._iterator = None
