"""Frames from image files, folders, patterns, videos and cameras; one at a time."""
import glob
import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Optional, Sequence, Tuple

import cv2
import numpy as np

from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import IMAGE_SUFFIXES

_ROTATED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height


@dataclass
class Frame:
    """One image of a source.

    Args:
        image: (H, W, 3) BGR, uint8.
        source: Path or name.
        index: Number within a video, 0 for an image.
        seconds: Time within a video; None for an image.
    """
    image: np.ndarray
    source: str
    index: int = 0
    seconds: Optional[float] = None


def find_images(inputs: Sequence[str]) -> List[Path]:
    """Return the image files behind files, folders and patterns, in order, each once.

    Folders are not searched recursively; use a pattern with ``**`` for that.

    Raises:
        UserError: An input does not exist, or there is no image in it.
    """
    found: Dict[str, Path] = {}
    for item in inputs:
        path = Path(item)
        if path.is_dir():
            files = sorted(p for p in path.iterdir() if p.suffix.lower() in IMAGE_SUFFIXES)
            if not files:
                raise UserError(f'folder {item} holds no images '
                                f'({", ".join(sorted(IMAGE_SUFFIXES))}).')
        elif path.is_file():
            files = [path]
        else:
            files = [Path(name) for name in sorted(glob.glob(item, recursive=True))
                     if Path(name).suffix.lower() in IMAGE_SUFFIXES]
            if not files:
                raise UserError(f'{item} does not exist, and no image file matches it.')
        for file in files:
            found.setdefault(os.path.abspath(file), file)
    return list(found.values())


def image_size(path: Path) -> Optional[Tuple[int, int]]:
    """Return width and height from an image's header, turned as OpenCV turns it; None if bad."""
    from PIL import Image
    try:
        with Image.open(path) as image:
            width, height = image.size
            rotated = image.getexif().get(0x0112) in _ROTATED
    except (OSError, ValueError, SyntaxError):
        return None
    return (height, width) if rotated else (width, height)


def read_image(path: Path) -> np.ndarray:
    """Return an image as BGR, uint8; grey, alpha and 16-bit images are converted.

    Raises:
        UserError: The file cannot be read; the message says why.
    """
    try:
        data = np.fromfile(path, np.uint8)  # imread cannot open every path on every system
        image = cv2.imdecode(data, cv2.IMREAD_COLOR) if len(data) else None
    except (OSError, cv2.error):
        image = None
    if image is None:
        from mmyolonas.utils.image_checks import image_problem
        raise UserError(image_problem(str(path)) or f"image file '{path}' cannot be decoded")
    return image


def iter_images(paths: Iterable[Path], failures: Optional[List[str]] = None) -> Iterator[Frame]:
    """Yield images; those that cannot be read are reported and left out.

    Args:
        paths (Iterable[Path]): Image files.
        failures (list, optional): Gets a message for each unreadable file.
    """
    for path in paths:
        try:
            image = read_image(path)
        except UserError as error:
            print(f'skipped: {error}', file=sys.stderr)
            if failures is not None:
                failures.append(str(error))
            continue
        yield Frame(image, str(path))


class VideoSource:
    """Frames of a video file, a camera or a stream; iterate over it once.

    Args:
        source (str): File, number of a camera, or address of a stream.
        stride (int): Take every ``stride``-th frame. Defaults to 1.
        max_frames (int, optional): Stop after so many frames.

    Raises:
        UserError: It cannot be opened or decoded.
    """

    def __init__(self, source: str, stride: int = 1, max_frames: Optional[int] = None) -> None:
        self.name = source
        self.stride = stride
        self.max_frames = max_frames
        self.is_camera = source.isdigit()
        self.is_file = not self.is_camera and '://' not in source
        if self.is_file and not Path(source).is_file():
            raise UserError(f'video {source} does not exist.')
        self._capture = cv2.VideoCapture(int(source) if self.is_camera else source)
        opened, self._next = self._capture.read() if self._capture.isOpened() else (False, None)
        if not opened:
            self._capture.release()
            raise UserError(self._cannot_open())
        fps = self._capture.get(cv2.CAP_PROP_FPS)
        self.fps = fps if 0 < fps <= 1000 else 25.0
        announced = int(self._capture.get(cv2.CAP_PROP_FRAME_COUNT))
        self.announced = announced if self.is_file and announced > 0 else None
        self.height, self.width = self._next.shape[:2]

    def _cannot_open(self) -> str:
        if self.is_camera:
            return (f'camera {self.name} cannot be opened: is it connected, and not in use by '
                    'another program?')
        if not self.is_file:
            return f'stream {self.name} cannot be opened: check the address and the network.'
        return (f'video {self.name} cannot be decoded: it is damaged, not a video, or in a format '
                'that this OpenCV does not know. Try: '
                f'ffmpeg -i {self.name} -c:v libx264 readable.mp4')

    def __len__(self) -> int:
        """Return the expected number of frames; 0 if unknown."""
        frames = 0 if self.announced is None else -(-self.announced // self.stride)
        if self.max_frames is not None:
            frames = min(frames, self.max_frames) if frames else self.max_frames
        return frames

    def __iter__(self) -> Iterator[Frame]:
        """Yield frames; says so if the file ends before its announced end."""
        index = given = 0
        try:
            while self._next is not None:
                if index % self.stride == 0:
                    yield Frame(self._next, self.name, index, index / self.fps)
                    given += 1
                    if self.max_frames is not None and given >= self.max_frames:
                        return
                read, image = self._capture.read()
                self._next = image if read else None
                index += 1
            # containers are off by a frame or two without being damaged
            if self.announced is not None and index < self.announced - 2:
                print(f'video {self.name} ends early: {index} of {self.announced} frames could be '
                      'read; the results cover these', file=sys.stderr)
        finally:
            self._capture.release()
