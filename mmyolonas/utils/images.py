"""Frames from image files, folders, patterns, videos and cameras; one at a time."""
import glob
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterable, Iterator, List, Optional, Sequence, Set, Tuple, Union

import cv2
import numpy as np

from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import IMAGE_SUFFIXES, OTHER_PICTURES
from mmyolonas.utils.image_checks import ImageError, check_header, holds_several, read_header


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
            below = sorted(path.iterdir())
            files = [p for p in below if p.suffix.lower() in IMAGE_SUFFIXES and p.is_file()]
            others = [p for p in below if p.suffix.lower() in OTHER_PICTURES]
            if not files:
                raise UserError(f'folder {item} holds no images '
                                f'({", ".join(sorted(IMAGE_SUFFIXES))}).')
            if others:
                warnings.warn(f'{len(others)} pictures of {item} are of formats that are not read '
                              f'and are left out, the first is {others[0].name}: convert them to '
                              'JPEG or PNG', stacklevel=2)
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
    try:
        with open(path, 'rb') as file:
            header = read_header(file)
    except OSError:
        return None
    if header is None:
        return None
    return header.size[::-1] if header.turned else header.size


def read_image(path: Union[str, Path]) -> np.ndarray:
    """Return an image file as BGR, uint8; see :func:`decode_image`.

    Raises:
        ImageError: The file cannot be read; the message says why.
    """
    try:
        data = Path(path).read_bytes()  # imread cannot open every path on every system
    except (FileNotFoundError, IsADirectoryError, NotADirectoryError, ValueError):
        raise ImageError(f"image file '{path}' does not exist: check data_root and data_prefix "
                         'in the config, and file_name in the annotations') from None
    except OSError as error:
        raise ImageError(f"image file '{path}' cannot be opened: {error.strerror}") from None
    return decode_image(data, str(path))


def decode_image(data: bytes, path: str, flags: int = cv2.IMREAD_COLOR) -> np.ndarray:
    """Return an encoded image as BGR, uint8: the one way in for images.

    Grey, palette, CMYK and transparent images become BGR; of images with more than
    8 bits the used bits become 0..255, with a warning (see :func:`to_8_bits`).

    Args:
        data (bytes): Content of the file.
        path (str): Its name, for messages.
        flags (int): OpenCV's flags of a colour image. Defaults to ``IMREAD_COLOR``.

    Returns:
        ndarray: (H, W, 3).

    Raises:
        ImageError: It is no image, cut short, damaged, or larger than
            ``MMYOLONAS_MAX_PIXELS``; nothing was decoded in the last case.
    """
    header = check_header(data, path)
    buffer = np.frombuffer(data, np.uint8)
    image = None
    for flag in (flags | cv2.IMREAD_ANYDEPTH, cv2.IMREAD_UNCHANGED):
        try:
            image = cv2.imdecode(buffer, flag)
        except cv2.error:
            image = None
        if image is not None:
            break
    if image is None:
        raise ImageError(f"image file '{path}' is a damaged {header.format} file: copy it again")
    if holds_several(data):
        _warn_once(('several', header.format), f"image '{path}' is an animation or holds several "
                   'pages, of which the first is taken: make a picture of each to use the others')
    if image.dtype != np.uint8:
        image = to_8_bits(image, path)
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    return np.ascontiguousarray(image[..., :3])


def to_8_bits(image: np.ndarray, path: str) -> np.ndarray:
    """Return an image of more bits as uint8.

    Cameras and microscopes put 10, 12 or 14 bits into 16, which would become
    almost black. The smallest of 8, 10, 12, 14 and 16 bits that holds the brightest
    value is taken to be the range; ``MMYOLONAS_IMAGE_BITS`` sets it for all images,
    which keeps frames comparable. Floating point is taken for 0..1, 0..255 or 16
    bits, by its largest value; NaN is black. Where there are values below zero all
    from the smallest to the largest are spread over 0..255.

    Args:
        image (ndarray): Of any number type.
        path (str): Its name, for messages.

    Raises:
        ImageError: There is no finite number in it.
    """
    values = _finite(image, path) if image.dtype.kind == 'f' else image
    darkest, brightest = float(values.min(initial=0)), float(values.max(initial=0))
    fixed = _fixed_bits()
    if darkest < 0:
        _warn_of_depth(image.dtype, f'values from {darkest:.4g} to {brightest:.4g}', path)
        spread = (values.astype(np.float64) - darkest) * (255 / (brightest - darkest))
        return np.clip(spread + 0.5, 0, 255).astype(np.uint8)
    if image.dtype.kind == 'f' and brightest <= 1 and fixed is None:
        bits, full = 'a range of 0 to 1', 1.
    else:
        used = fixed or next((b for b in (8, 10, 12, 14, 16) if brightest < 2**b), 32)
        bits, full = f'{used} bits', (brightest if used == 32 else 2.**used - 1)
    _warn_of_depth(image.dtype, bits, path)
    if image.dtype == np.uint16 and full < 2**16 and full > 1:
        shift = max(0, int(full).bit_length() - 8)
        return np.minimum(values >> shift, 255).astype(np.uint8)
    return np.clip(values * (255 / full) + 0.5, 0, 255).astype(np.uint8)


def _fixed_bits() -> Optional[int]:
    text = os.environ.get('MMYOLONAS_IMAGE_BITS', '')
    if text and not (text.isascii() and text.isdigit() and 8 <= int(text) <= 16):
        raise UserError('the environment variable MMYOLONAS_IMAGE_BITS must be a number from 8 to '
                        f'16, got {text!r}')
    return int(text) if text else None


def _finite(image: np.ndarray, path: str) -> np.ndarray:
    """Return an image with black for what is no finite number."""
    sound = np.isfinite(image)
    if not sound.any():
        raise ImageError(f"image file '{path}' holds no finite numbers (NaN): make it again")
    if not sound.all():
        _warn_once(('nan', str(image.dtype)), f"image '{path}' holds values that are not finite "
                   'numbers (NaN); they became black')
    return np.where(sound, image, 0)


_WARNED: Set[Tuple[str, str]] = set()


def _warn_once(kind: Tuple[str, str], text: str) -> None:
    if kind not in _WARNED:
        _WARNED.add(kind)
        warnings.warn(text, stacklevel=4)


def _warn_of_depth(dtype: np.dtype, bits: str, path: str) -> None:
    """Warn once for each kind of image that is not the usual 8 or full 16 bits."""
    kind = (str(dtype), bits.split()[0])
    if kind != ('uint16', '16'):
        _warn_once(kind, f"image '{path}' ({dtype}) uses {bits}, which became 0..255: if images "
                   'must keep their brightness relative to each other, convert them to 8 bits with '
                   'one factor, or set the environment variable MMYOLONAS_IMAGE_BITS')


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
