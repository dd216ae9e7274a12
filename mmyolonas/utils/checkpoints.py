"""Checkpoints of trainings: whether they are there, and which is the last."""
from pathlib import Path
from typing import Optional

from mmyolonas.utils.errors import UserError


def last_checkpoint(work_dir: str) -> Optional[Path]:
    """Return the last checkpoint of a training, or None.

    The pointer that mmengine writes holds a path as seen from the folder in
    which training was started; a moved work folder is found as well.
    """
    pointer = Path(work_dir) / 'last_checkpoint'
    if not pointer.is_file():
        return None
    noted = Path(pointer.read_text().strip())
    for candidate in (Path(work_dir) / noted.name, noted):
        if candidate.is_file():
            return candidate
    raise UserError(
        f'{pointer} names {noted}, which does not exist; give the checkpoint to continue from '
        'as --resume CHECKPOINT, or remove the pointer to start anew.')


def check_checkpoint(path: str) -> str:
    """Return the path of a checkpoint after a look whether it exists.

    Raises:
        UserError: It does not.
    """
    if '://' not in path and not Path(path).is_file():
        raise UserError(f'checkpoint {path} does not exist.')
    return path
