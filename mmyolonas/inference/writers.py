"""Results as JSON lines and as video, written as they come and complete or not at all."""
import json
import os
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import IO, Any, Optional, Tuple

import cv2
import numpy as np

from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import PathLike, finish, part_file

_CODECS = {'.mp4': 'mp4v', '.m4v': 'mp4v', '.mov': 'mp4v', '.avi': 'MJPG', '.mkv': 'MJPG'}
#: Frames between two looks whether the disk is full, and the bytes there must be room for.
_CHECK_EVERY, _SPARE = 100, 1 << 16


class _Streamed(AbstractContextManager):
    """A file that gets its name when it is complete.

    An interrupt (Ctrl-C, the usual end of a camera's stream) completes it too;
    any other error removes it.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        self._stack = ExitStack()
        self.part = self._stack.enter_context(part_file(path))

    def close(self) -> None:
        """Finish writing."""

    def check(self) -> bool:
        """Return whether there is something to keep; raise if it is damaged."""
        return True

    def __exit__(self, kind, error, trace) -> None:
        with self._stack:
            if kind is None or issubclass(kind, (KeyboardInterrupt, GeneratorExit)):
                self.close()
                if self.check():
                    finish(self.part, self.path)
            else:
                with suppress(OSError):  # the first error counts
                    self.close()


class JsonLinesWriter(_Streamed):
    """One JSON value a line.

    Args:
        path (str | Path): File to write.
    """

    def __init__(self, path: PathLike) -> None:
        super().__init__(path)
        # names of files need not be UTF-8; escapes are what JSON has for them
        self._file: IO[str] = open(  # noqa: SIM115, close() does
            self.part, 'w', encoding='utf-8', errors='backslashreplace')

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
        if Path(path).suffix.lower() not in _CODECS:
            raise UserError(
                f'cannot write {path}: give a video name with {", ".join(sorted(_CODECS))}.')
        super().__init__(path)
        self.fps = fps
        self._writer: Optional[cv2.VideoWriter] = None
        self._size: Tuple[int, int] = (0, 0)
        self._count = 0

    def write(self, image: np.ndarray) -> None:
        """Append a frame, (H, W, 3) BGR, uint8."""
        if self._writer is None:
            self._size = image.shape[1], image.shape[0]
            code = cv2.VideoWriter_fourcc(*_CODECS[self.path.suffix.lower()])
            self._writer = cv2.VideoWriter(str(self.part), code, self.fps, self._size)
            if not self._writer.isOpened():
                self._room()
                raise UserError(f'cannot write {self.path}: this OpenCV has no encoder for '
                                f'{self.path.suffix}; try .avi.')
        if (image.shape[1], image.shape[0]) != self._size:
            image = cv2.resize(image, self._size)
        self._writer.write(image)
        self._count += 1
        if self._count % _CHECK_EVERY == 0:
            self._room()  # hours of a stream are not for nothing

    def _room(self) -> None:
        """Raise if the disk is full: OpenCV does not notice."""
        with open(self.part, 'ab') as file:
            end = file.tell()
            try:
                file.write(bytes(_SPARE))
                file.flush()
                os.fsync(file.fileno())
            finally:
                os.truncate(self.part, end)

    def close(self) -> None:
        """Finish writing."""
        if self._writer is not None:
            self._writer.release()

    def check(self) -> bool:
        """Return whether there are frames.

        Raises:
            FullDiskError: The disk was full.
            UserError: The video cannot be read for another reason.
        """
        if self._writer is None:
            return False
        capture = cv2.VideoCapture(str(self.part))
        try:
            count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
            capture.set(cv2.CAP_PROP_POS_FRAMES, max(0, count - 1))
            # encoders join two frames now and then
            if count >= 0.99 * self._count - 2 and capture.read()[0]:
                return True
        finally:
            capture.release()
        self._room()
        raise UserError(f'the video {self.path} did not become complete: {count} of {self._count} '
                        'frames can be read from it. Is the disk full? Or try .avi.')
