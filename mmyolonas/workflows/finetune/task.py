"""What is fine-tuned, and where its results are."""
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from mmyolonas.utils.errors import UserError
from mmyolonas.workflows.finetune.finetune_settings import FinetuneOptions
from mmyolonas.workflows.finetune.launching import Crew


@dataclass
class Finetuning:
    """What to train on, how, and where the results go.

    Args:
        data: Folder of the images and labels, or a ``data.yaml`` or COCO JSON.
        work_dir: Folder of all results; a second run there goes on.
        format: 'coco', 'yolo', 'voc' or 'auto'.
        options: Settings that are not left to the data.
        drop_bad_images: Whether images that are missing or damaged are left
            out; if not, they are an error.
        launcher: 'pytorch' or 'slurm' in each process of a distributed training, which
            share the work folder; 'none' for one process.
    """
    data: Path
    work_dir: Path
    format: str = 'auto'
    options: FinetuneOptions = field(default_factory=FinetuneOptions)
    drop_bad_images: bool = False
    launcher: str = 'none'

    @property
    def is_pose(self) -> bool:
        """bool: Whether a pose model is trained, not a detector."""
        return self.options.task == 'pose'

    @cached_property
    def crew(self) -> Crew:
        """Crew: The processes; connected when it is first asked for."""
        return Crew(self.launcher)

    @property
    def config(self) -> Path:
        """Path: The config, written once."""
        return self.work_dir / 'config.py'

    @property
    def train_dir(self) -> Path:
        """Path: Work folder of the training."""
        return self.work_dir / 'train'

    @property
    def report(self) -> Path:
        """Path: The results as text."""
        return self.work_dir / 'report.md'

    @property
    def page(self) -> Path:
        """Path: The same as one HTML file, with curves and pictures."""
        return self.work_dir / 'report.html'

    def checkpoint(self) -> Path:
        """Return the checkpoint that was best on the validation images.

        Returns:
            Path: The best, else the last one.

        Raises:
            UserError: There is none.
        """
        from mmyolonas.utils.checkpoints import last_checkpoint
        best = sorted(self.train_dir.glob('best_coco_*_epoch_*.pth'),
                      key=lambda path: path.stat().st_mtime)
        path = best[-1] if best else last_checkpoint(str(self.train_dir))
        if path is None:
            raise UserError(f'there is no checkpoint in {self.train_dir} yet.')
        return path
