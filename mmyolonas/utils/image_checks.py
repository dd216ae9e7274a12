"""Saying why an image cannot be read."""
import functools
import os
from typing import Optional

import cv2
import numpy as np

# First bytes of the formats that OpenCV reads, and the bytes complete files end with.
_FORMATS = {
    b'\xff\xd8': ('JPEG', b'\xff\xd9'),
    b'\x89PNG': ('PNG', b'IEND\xaeB`\x82'),
    b'BM': ('BMP', b''),
    b'RIFF': ('WebP', b''),
    b'II*\x00': ('TIFF', b''),
    b'MM\x00*': ('TIFF', b''),
    b'GIF8': ('GIF', b''),
}
_TAIL = 4096


@functools.lru_cache(maxsize=None)
def opencv_accepts_cut_files() -> bool:
    """Whether this OpenCV decodes half a JPEG file without an error (4.x does, 5.x does not)."""
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    data = cv2.imencode('.jpg', noise)[1]
    return cv2.imdecode(data[:len(data) // 2], cv2.IMREAD_COLOR) is not None


def is_cut_short(path: str) -> bool:
    """Tell from a file's first and last bytes whether its end is missing.

    Args:
        path (str): Local image file.

    Returns:
        bool: True for JPEG and PNG files without their end marker. A marker
        that is followed by other data (cameras append some) is found in the
        last 4 KiB.
    """
    with open(path, 'rb') as file:
        head = file.read(4)
        marker = next((end for start, (_, end) in _FORMATS.items() if head.startswith(start)), b'')
        if not marker:
            return False
        size = file.seek(0, os.SEEK_END)
        file.seek(max(size - _TAIL, 0))
        return marker not in file.read()


def image_problem(path: str) -> Optional[str]:
    """Say in one sentence why an image file cannot be used.

    Args:
        path (str): Local image file.

    Returns:
        str | None: The sentence, or None if the file can be decoded.
    """
    if not os.path.isfile(path):
        return (f"image file '{path}' does not exist: check data_root and data_prefix in the "
                'config, and file_name in the annotations')
    with open(path, 'rb') as file:
        data = file.read()
    if not data:
        return f"image file '{path}' is empty (0 bytes): copy it again or remove it"
    name = next((name for start, (name, _) in _FORMATS.items() if data.startswith(start)), None)
    try:
        img = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error:
        img = None
    if is_cut_short(path):
        return f"image file '{path}' is cut short ({len(data)} bytes of a {name}): copy it again"
    if img is not None:
        return None
    if name is None:
        return (f"image file '{path}' is not an image (it begins with {data[:8]!r}): replace it "
                'or remove it from the annotations')
    return f"image file '{path}' is a damaged {name} file: copy it again"
