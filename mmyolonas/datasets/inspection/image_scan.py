"""Looking at image files: size, damage, and which look the same."""
import hashlib
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Dict, Iterator, List, Optional, Sequence, Tuple

import cv2
import numpy as np

from mmyolonas.utils.image_checks import ImageError, ImageHeader, check_header, image_problem
from mmyolonas.utils.images import decode_image
from mmyolonas.utils.progress import track

_THUMBNAIL = 16
_LARGE = 256  # pixels
_MAX_BITS = 4  # of 64 in which the hashes of two like images differ
_MAX_LEVELS = 5.0  # of 255, mean difference of their thumbnails
_MIN_CONTRAST = 4.0  # standard deviation; plainer images all look the same
_MAX_BUCKET = 3000  # more images than this with a part of the hash in common are not compared


@dataclass
class ScannedImage:
    """What a look at an image file told.

    Attributes:
        path (Path): The file.
        size (tuple[int, int], optional): Width and height as decoded; None
            where it cannot be read.
        problem (str, optional): Why it cannot be used, one sentence.
        digest (bytes): Hash of the content.
        bits (int): 64-bit difference hash of the picture.
        thumbnail (ndarray, optional): (16, 16) uint8, grey.
    """
    path: Path
    size: Optional[Tuple[int, int]] = None
    problem: Optional[str] = None
    digest: bytes = b''
    bits: int = 0
    thumbnail: Optional[np.ndarray] = None


def scan_image(path: Path) -> ScannedImage:
    """Look at one image file; never raises for a bad one."""
    try:
        data = path.read_bytes()
    except OSError:
        return ScannedImage(path, problem=image_problem(str(path)) or f"'{path}' cannot be opened")
    try:
        header = check_header(data, str(path))
        # reduced decoding is several times faster, and enough where much is left
        grey, size = _grey(data, header), header.size[::-1] if header.turned else header.size
        if grey is None:
            image = decode_image(data, str(path))
            grey, size = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY), image.shape[1::-1]
    except ImageError as error:
        return ScannedImage(path, problem=str(error))
    small = cv2.resize(grey, (9, 8), interpolation=cv2.INTER_AREA)
    bits = int.from_bytes(np.packbits(small[:, 1:] > small[:, :-1]).tobytes(), 'big')
    thumbnail = cv2.resize(grey, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA)
    return ScannedImage(path, size, None, hashlib.blake2b(data, digest_size=16).digest(), bits,
                        thumbnail)


def _grey(data: bytes, header: ImageHeader) -> Optional[np.ndarray]:
    """Return a picture in grey, perhaps smaller; None if it does not decode as it is."""
    large = min(header.size) >= _LARGE
    flag = cv2.IMREAD_REDUCED_GRAYSCALE_4 if large else cv2.IMREAD_GRAYSCALE
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flag)
    except cv2.error:
        return None


def scan_images(paths: Sequence[Path], label: str = 'looking at images',
                threads: int = 4) -> List[ScannedImage]:
    """Look at image files.

    Args:
        paths (Sequence[Path]): The files.
        label (str): What to call the work in the progress lines.
        threads (int): Files that are read at a time. Defaults to 4.

    Returns:
        list[ScannedImage]: In the order of ``paths``.
    """
    with ThreadPoolExecutor(threads) as pool:
        return list(track(pool.map(scan_image, paths), label, len(paths)))


def similar_groups(images: Sequence[ScannedImage]) -> List[List[int]]:
    """Group images that are the same file, or look the same.

    Two images look the same if their difference hashes have at least 60 of 64
    bits in common and their thumbnails are alike, as after another compression
    or scaling, and in neighbouring frames of a still video. Mirrored or cropped
    copies are not found, nor are plain images (without contrast).

    Args:
        images (Sequence[ScannedImage]): Unreadable ones are in no group.

    Returns:
        list[list[int]]: Indices of each group with at least two members.
    """
    parent = list(range(len(images)))

    def root(index: int) -> int:
        while parent[index] != index:
            parent[index] = parent[parent[index]]
            index = parent[index]
        return index

    first: Dict[bytes, int] = {}
    for index, image in enumerate(images):
        if image.digest:
            parent[root(index)] = root(first.setdefault(image.digest, index))
    distinct = [i for i in first.values() if images[i].thumbnail.std() >= _MIN_CONTRAST]
    for one, other in _similar_pairs([images[i] for i in distinct]):
        parent[root(distinct[other])] = root(distinct[one])
    groups: Dict[int, List[int]] = defaultdict(list)
    for index in range(len(images)):
        groups[root(index)].append(index)
    return [group for group in groups.values() if len(group) > 1]


def _similar_pairs(images: Sequence[ScannedImage]) -> Iterator[Tuple[int, int]]:
    """Yield pairs of images that look the same.

    Hashes that differ in at most 4 bits agree in at least one of 5 parts, so
    only images that share a part are compared.
    """
    if len(images) < 2:
        return
    bits = np.array([image.bits for image in images], np.uint64)
    thumbnails = np.stack([image.thumbnail.ravel() for image in images]).astype(np.int16)
    edges = np.linspace(0, 64, _MAX_BITS + 2).round().astype(int)
    for low, high in zip(edges[:-1], edges[1:]):
        part = (bits >> np.uint64(low)) & np.uint64((1 << int(high - low)) - 1)
        order = np.argsort(part, kind='stable')
        for bucket in np.split(order, np.flatnonzero(np.diff(part[order])) + 1):
            if 1 < len(bucket) <= _MAX_BUCKET:
                yield from _pairs_within(bucket, bits, thumbnails)


def _pairs_within(bucket: np.ndarray, bits: np.ndarray,
                  thumbnails: np.ndarray) -> Iterator[Tuple[int, int]]:
    for position, one in enumerate(bucket[:-1]):
        others = bucket[position + 1:]
        difference = (bits[others] ^ bits[one]).view(np.uint8).reshape(-1, 8)
        others = others[np.unpackbits(difference, axis=1).sum(1) <= _MAX_BITS]
        levels = np.abs(thumbnails[others] - thumbnails[one]).mean(1)
        for other in others[levels <= _MAX_LEVELS]:
            yield int(one), int(other)
