"""Looking at an image file before it is decoded, and saying why it cannot be used."""
import io
import os
from dataclasses import dataclass
from typing import BinaryIO, Optional, Tuple

from mmyolonas.utils.errors import UserError

#: Name of the environment variable that sets the largest image, in pixels.
LIMIT_VARIABLE = 'MMYOLONAS_MAX_PIXELS'
_LIMIT = 178_956_970  # what Pillow refuses too; decoded half a gigabyte

# First bytes of the formats that OpenCV reads.
_FORMATS = {
    b'\xff\xd8': 'JPEG', b'\x89PNG': 'PNG', b'BM': 'BMP', b'RIFF': 'WebP', b'II*\x00': 'TIFF',
    b'MM\x00*': 'TIFF', b'II+\x00': 'TIFF', b'MM\x00+': 'TIFF', b'GIF8': 'GIF',
    b'\x00\x00\x00\x0cjP': 'JPEG 2000', b'\xff\x4f\xff\x51': 'JPEG 2000', b'P4': 'PBM',
    b'P5': 'PGM', b'P6': 'PPM'}
#: Byte order, and whether it is a BigTIFF, by the first bytes.
_TIFF = {b'II*\x00': ('little', False), b'MM\x00*': ('big', False),
         b'II+\x00': ('little', True), b'MM\x00+': ('big', True)}
_ROTATED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height
_STANDALONE = (*range(0xD0, 0xD8), 0x01)  # JPEG markers without a length


class ImageError(UserError):
    """An image file that cannot be used; the message says why in one sentence."""


@dataclass
class ImageHeader:
    """What the first bytes of an image file say.

    Attributes:
        size (tuple[int, int]): Width and height in pixels, as they are stored.
        turned (bool): Whether EXIF exchanges width and height.
        format (str): Pillow's name of the format.
    """
    size: Tuple[int, int]
    turned: bool
    format: str


def max_pixels() -> int:
    """Return the most pixels an image may have.

    Raises:
        UserError: The environment variable ``MMYOLONAS_MAX_PIXELS`` is no positive number.
    """
    text = os.environ.get(LIMIT_VARIABLE, '')
    if not text:
        return _LIMIT
    try:
        limit = int(float(text))
    except (ValueError, OverflowError):
        limit = 0
    if limit < 1:
        raise UserError(f'the environment variable {LIMIT_VARIABLE} must be a number of pixels '
                        f'such as 400000000, got {text!r}')
    return limit


def read_header(stream: BinaryIO) -> Optional[ImageHeader]:
    """Return what an image file's header says; None if no reader knows it.

    Nothing is decoded, so the size of a decompression bomb is known before it
    takes memory. ``PIL.Image.open`` would raise for images above a limit of its own.

    Args:
        stream (BinaryIO): The file.
    """
    from PIL import Image
    stream.seek(0)
    start = stream.read(16)
    if start[:4] in _TIFF:
        return _tiff_header(stream, start)
    for prepare in (Image.preinit, Image.init):
        prepare()
        for name in list(Image.ID):
            factory, accepts = Image.OPEN[name]
            if accepts is None or name in ('MPO', 'EPS'):
                continue
            try:
                known = accepts(start)
                if not known or isinstance(known, str):
                    continue
                stream.seek(0)
                image = factory(stream, '')
                width, height = image.size
                if width < 1 or height < 1:
                    return None
                return ImageHeader((width, height), _turned(image), name)
            except Exception:  # noqa: BLE001, damaged files raise whatever they like
                continue
    return None


def _tiff_header(stream: BinaryIO, start: bytes) -> Optional[ImageHeader]:
    """Read the first directory; Pillow does not know floating point of several channels."""
    order, big = _TIFF[start[:4]]
    offset = int.from_bytes(start[8:16] if big else start[4:8], order)
    stream.seek(offset)
    count = int.from_bytes(stream.read(8 if big else 2), order)
    size = 20 if big else 12
    entries = stream.read(size * min(count, 1000))
    tags = {}
    for place in range(0, len(entries) - size + 1, size):
        tag, kind = (int.from_bytes(entries[place + i:place + i + 2], order) for i in (0, 2))
        value = entries[place + size - (8 if big else 4):place + size]
        tags[tag] = int.from_bytes(value[:2 if kind == 3 else 8 if kind == 16 else 4], order)
    width, height = tags.get(256, 0), tags.get(257, 0)
    if width < 1 or height < 1:
        return None
    return ImageHeader((width, height), tags.get(274) in _ROTATED, 'TIFF')


def _turned(image) -> bool:
    if image.format == 'AVIF':
        return False  # as OpenCV
    if image.format == 'PNG' and 'exif' not in image.info:
        return False  # to look for it behind the picture Pillow would decode the picture
    try:
        return image.getexif().get(0x0112) in _ROTATED
    except Exception:  # noqa: BLE001, damaged EXIF data; the picture may be sound
        return False


def check_header(data: bytes, path: str) -> ImageHeader:
    """Raise if an image must not be decoded: empty, unknown, cut short or too large.

    Args:
        data (bytes): Content of the file.
        path (str): Its name, for the message.

    Raises:
        ImageError: The message says what is wrong.
    """
    if not data:
        raise ImageError(f"image file '{path}' is empty (0 bytes): copy it again or remove it")
    kind = _kind(data)
    header = read_header(io.BytesIO(data))
    if header is None:
        if kind is None and (other := _other_kind(data)):
            raise ImageError(f"image file '{path}' is {other}")
        if kind is None:
            raise ImageError(f"image file '{path}' is not an image (it begins with "
                             f'{bytes(data[:8])!r}): replace it or remove it from the annotations')
        end = dict(JPEG=b'\xff\xd9', PNG=b'IEND').get(kind, b'')
        how = f'cut short ({len(data)} bytes of a {kind})' if end not in data else (
            f'a damaged {kind} file')
        raise ImageError(f"image file '{path}' is {how}: copy it again")
    pixels, limit = header.size[0] * header.size[1], max_pixels()
    if pixels > limit:
        raise ImageError(
            f"image file '{path}' has {header.size[0]}x{header.size[1]} pixels, more than the "
            f'{limit / 1e6:.4g} million that are decoded: cut it into tiles, or set the '
            f'environment variable {LIMIT_VARIABLE}={pixels} if it is sound')
    if is_cut_short(data):
        raise ImageError(f"image file '{path}' is cut short ({len(data)} bytes of a "
                         f'{kind or header.format}): copy it again')
    return header


def _kind(data: bytes) -> Optional[str]:
    return next((name for start, name in _FORMATS.items() if data.startswith(start)), None)


def _other_kind(data: bytes) -> str:
    """Return what a file is that looks like an image by its name alone, and what to do."""
    start = bytes(data[:64])
    if start[4:8] == b'ftyp' and start[8:12] in (b'heic', b'heix', b'mif1', b'msf1', b'avif',
                                                 b'avis'):
        return 'a HEIF or AVIF picture, which is not read here: convert it to JPEG or PNG'
    if start.startswith(b'version https://git-lfs'):
        return 'a pointer of Git LFS, not the picture itself: fetch it with `git lfs pull`'
    if start.lstrip().lower().startswith((b'<!doctype', b'<html')):
        return 'a web page: the download went wrong, get the picture again'
    if b'<svg' in data[:1000]:
        return 'a drawing (SVG): convert it to PNG'
    return ''


def holds_several(data: bytes) -> bool:
    """Whether an image file is an animation or holds several pages, by its first bytes."""
    if data.startswith(b'RIFF') and data[12:16] == b'VP8X':
        return bool(data[20] & 2) if len(data) > 20 else False
    if data.startswith(b'\x89PNG'):
        return b'acTL' in data[8:200]
    if data.startswith(b'GIF8'):
        from PIL import Image
        try:
            with Image.open(io.BytesIO(data)) as image:
                return bool(image.is_animated)  # looks for a second picture alone
        except Exception:  # noqa: BLE001, damaged files raise whatever they like
            return False
    order, big = _TIFF.get(bytes(data[:4]), ('', False))
    if not order or big:
        return False

    def number(place: int, size: int) -> int:
        return int.from_bytes(data[place:place + size], order)

    first = number(4, 4)
    place = number(first + 2 + 12 * number(first, 2), 4)
    # the first tag of a smaller copy of the picture says that it is one
    return 0 < place < len(data) and not (number(place + 2, 2) == 254 and number(place + 10, 4) & 1)


def is_cut_short(data: bytes) -> bool:
    """Tell whether the end of a JPEG or PNG file is missing.

    The file is walked from its beginning as a decoder does, so what comes behind
    the end of the image (a film of a phone, padding) does not matter. Only where
    the end is not found a decoder is asked.

    Args:
        data (bytes): Content of the file.
    """
    if data.startswith(b'\xff\xd8'):
        return not _has_jpeg_end(data) and not _decodes(data)
    if data.startswith(b'\x89PNG'):
        return not _has_png_end(data)
    return False


def _has_jpeg_end(data: bytes) -> bool:
    """Whether an end marker follows the first scan; coded data cannot hold one."""
    place = 2
    while place + 4 <= len(data):
        if data[place] != 0xFF:
            return False
        marker = data[place + 1]
        if marker == 0xFF or marker in _STANDALONE:
            place += 1 if marker == 0xFF else 2
            continue
        place += 2 + int.from_bytes(data[place + 2:place + 4], 'big')
        if marker == 0xDA:
            return data.find(b'\xff\xd9', place) >= 0
    return False


def _has_png_end(data: bytes) -> bool:
    place = 8
    while place + 12 <= len(data):
        if data[place + 4:place + 8] == b'IEND':
            return True
        place += 12 + int.from_bytes(data[place:place + 4], 'big')
    return False


def _decodes(data: bytes) -> bool:
    """Whether Pillow, which is strict about missing data, decodes a file."""
    from PIL import Image
    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except Exception:  # noqa: BLE001, damaged files raise whatever they like
        return False
    return True


def image_problem(path: str) -> Optional[str]:
    """Say in one sentence why an image file cannot be used.

    Args:
        path (str): Local image file.

    Returns:
        str | None: The sentence, or None if the file can be decoded.
    """
    from mmyolonas.utils.images import read_image
    try:
        read_image(path)
    except ImageError as error:
        return str(error)
    return None
