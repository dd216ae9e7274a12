"""Results as JSON lines and as video, written as they come and complete or not at all."""
import json
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, Optional, Tuple

import cv2
import numpy as np

from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import PathLike

_CODECS = {'.mp4': 'mp4v', '.m4v': 'mp4v', '.mov': 'mp4v', '.avi': 'MJPG', '.mkv': 'MJPG'}


class _Streamed(AbstractContextManager):
    """A file that gets its name when it is complete.

    An interrupt (Ctrl-C, the usual end of a camera's stream) completes it too;
    any other error removes it.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.part = self.path.with_name(f'.{self.path.stem}.part{self.path.suffix}')

    def close(self) -> None:
        """Finish writing."""

    def __exit__(self, kind, error, trace) -> None:
        self.close()
        if kind is None or issubclass(kind, (KeyboardInterrupt, GeneratorExit)):
            if self.part.exists():
                self.part.replace(self.path)
        else:
            self.part.unlink(missing_ok=True)


class JsonLinesWriter(_Streamed):
    """One JSON value a line.

    Args:
        path (str | Path): File to write.
    """

    def __init__(self, path: PathLike) -> None:
        super().__init__(path)
        self._file: IO[str] = open(self.part, 'w', encoding='utf-8')

    def write(self, record: Any) -> None:
        """Append a line."""
        self._file.write(json.dumps(record, ensure_ascii=False) + '\n')
        self._file.flush()

    def close(self) -> None:
        """Finish writing."""
        self._file.close()


class VideoWriter(_Streamed):
    """A video; frames must have the size of the first.

    Args:
        path (str | Path): File to write: ``.mp4``, ``.mov``, ``.avi`` or ``.mkv``.
        fps (float): Frames per second.

    Raises:
        UserError: The format is unknown or cannot be written here.
    """

    def __init__(self, path: PathLike, fps: float) -> None:
        super().__init__(path)
        if self.path.suffix.lower() not in _CODECS:
            raise UserError(
                f'cannot write {path}: give a video name with {", ".join(sorted(_CODECS))}.')
        self.fps = fps
        self._writer: Optional[cv2.VideoWriter] = None
        self._size: Tuple[int, int] = (0, 0)

    def write(self, image: np.ndarray) -> None:
        """Append a frame, (H, W, 3) BGR, uint8."""
        if self._writer is None:
            self._size = image.shape[1], image.shape[0]
            code = cv2.VideoWriter_fourcc(*_CODECS[self.path.suffix.lower()])
            self._writer = cv2.VideoWriter(str(self.part), code, self.fps, self._size)
            if not self._writer.isOpened():
                raise UserError(f'cannot write {self.path}: this OpenCV has no encoder for '
                                f'{self.path.suffix}; try .avi.')
        if (image.shape[1], image.shape[0]) != self._size:
            image = cv2.resize(image, self._size)
        self._writer.write(image)

    def close(self) -> None:
        """Finish writing."""
        if self._writer is not None:
            self._writer.release()
