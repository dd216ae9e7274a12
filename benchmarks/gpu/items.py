"""Settings, items and outcomes: what the program and its worker tell each other."""
import os
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Optional

from mmyolonas.utils.files import write_text

#: States of an item. Failed and stopped items are tried again by a later run, after the others.
DONE, SKIPPED, FAILED, STOPPED = 'done', 'skipped', 'failed', 'stopped'


class Skip(Exception):
    """An item cannot run here; the message says what is missing."""


@dataclass
class Settings:
    """What every item is given.

    Args:
        device (str): ``'cuda'``, or ``'cpu'`` for a rehearsal.
        rehearse (bool): Tiny sizes, a few steps.
        data (str): Folder with the data sets ``bccd`` and ``deeppcb``.
        scratch (str): Folder for checkpoints, drawn images and engines; what lies there saves
            time if it is still there in the next run, and nothing is lost if it is not.
        workers (int): Data-loading processes.
        peer_python (str, optional): Interpreter with modern-yolonas; the running one if None.
        sg_python (str, optional): Interpreter with SuperGradients.
        quick (bool): The shortest rehearsal: the smallest models, no whole trainings.
    """
    device: str = 'cuda'
    rehearse: bool = False
    data: str = 'data'
    scratch: str = 'scratch'
    workers: int = 2
    peer_python: Optional[str] = None
    sg_python: Optional[str] = None
    quick: bool = False

    @property
    def on_gpu(self) -> bool:
        """bool: Whether the device is one."""
        return self.device.startswith('cuda')

    @property
    def size(self) -> int:
        """int: Side of the images."""
        return 64 if self.rehearse else 640

    def folder(self, *names: str) -> Path:
        """Return a folder within the scratch folder; it is created."""
        path = Path(self.scratch, *names)
        path.mkdir(parents=True, exist_ok=True)
        return path

    @property
    def scratch_id(self) -> str:
        """str: Tells this scratch folder from any other, one of the same path included."""
        path = self.folder() / 'id.txt'
        if not path.is_file():
            write_text(path, uuid.uuid4().hex)
        return path.read_text(encoding='utf-8')

    def data_set(self, name: str) -> Path:
        """Return the folder of a data set.

        Raises:
            Skip: There is none.
        """
        path = Path(self.data, name)
        if not path.is_dir():
            raise Skip(f'there is no data set {name} in {self.data}; give --data, or carry the '
                       'folder with the checkout')
        return path.absolute()

    def plain(self) -> dict:
        """Return the fields as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Item:
    """One piece of work of a stage, done or not done as a whole.

    Args:
        key (str): Name, unique within the stage.
        seconds (float): About how long it takes on a data-centre GPU. An assumption: an item is
            not begun with less time left than this.
        resumes (bool): Whether a second attempt goes on with what the first left in the scratch
            folder. Defaults to False.
    """
    key: str
    seconds: float = 30.
    resumes: bool = False


def thread_count() -> int:
    """Return the processors this process may use."""
    if hasattr(os, 'sched_getaffinity'):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
