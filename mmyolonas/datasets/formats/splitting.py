"""Setting images aside for validation, the same ones every time."""
import hashlib
import re
from collections import Counter, defaultdict
from typing import Dict, List, Sequence, Set, Tuple

from mmyolonas.datasets.formats.coco_split import CocoSplit
from mmyolonas.utils.data_error import DataError

_MAX_VAL = 2000  # images; more make the scores hardly surer and the epochs longer
# Roboflow's exports call copies of an image <source>.rf.<hash>.jpg
_COPY = re.compile(r'(.+)\.rf\.[0-9a-fA-F]{8,}$')


def source_name(file_name: str) -> str:
    """Return the name an image had before an export made copies of it."""
    stem = file_name.rsplit('.', 1)[0]
    match = _COPY.match(stem)
    return match[1] if match else file_name


def split_off(split: CocoSplit, similar: Sequence[Sequence[int]] = (), name: str = 'val',
              fraction: float = 0.2) -> Tuple[CocoSplit, CocoSplit]:
    """Divide a part into one to train on and one to validate on.

    Which images go depends on their file names alone: not on their order, nor
    on a seed. Images that look the same and copies of one source stay together,
    and every class keeps an image to train on.

    Args:
        split (CocoSplit): The part; it is not changed.
        similar (Sequence[Sequence[int]]): Groups of indices of images that look
            the same.
        name (str): Name of the new part. Defaults to 'val'.
        fraction (float): Its share of the images, 0..1, at most 2,000 images.

    Returns:
        tuple[CocoSplit, CocoSplit]: The rest, and the new part.

    Raises:
        DataError: There are too few images to divide.
    """
    images = split.data['images']
    groups = _groups([image['file_name'] for image in images], similar)
    if len(groups) < 2:
        raise DataError(f"'{split.ann_file or split.images}' has {len(images)} images that differ: "
                        'add some, at least one to train on and one to validate on')
    number = {image['id']: index for index, image in enumerate(images)}
    classes: Dict[int, Set] = defaultdict(set)
    for annotation in split.data['annotations']:
        if annotation['image_id'] in number:
            classes[number[annotation['image_id']]].add(annotation['category_id'])
    left = Counter(key for found in classes.values() for key in found)
    wanted = min(_MAX_VAL, max(1, round(fraction * len(images))))
    chosen: Set[int] = set()
    for group in groups[:-1]:
        taken = Counter(key for index in group for key in classes[index])
        if len(chosen) >= wanted:
            break
        if all(left[key] > count for key, count in taken.items()):
            left -= taken
            chosen.update(group)
    if not chosen:
        # every image has a class of its own: the scores will say little
        chosen.update(groups[0])
    return _part(split, split.name, set(range(len(images))) - chosen), _part(split, name, chosen)


def _groups(names: List[str], similar: Sequence[Sequence[int]]) -> List[List[int]]:
    """Return indices of images that belong together, in an order given by their names."""
    key = [source_name(name) for name in names]
    first: Dict[str, str] = {}
    for group in similar:
        smallest = min(_find(first, key[index]) for index in group)
        for index in group:
            first[_find(first, key[index])] = smallest
    together: Dict[str, List[int]] = defaultdict(list)
    for index, name in enumerate(key):
        together[_find(first, name)].append(index)
    return [together[name] for name in sorted(together, key=_number)]


def _find(first: Dict[str, str], name: str) -> str:
    while first.get(name, name) != name:
        name = first[name]
    return name


def _number(name: str) -> bytes:
    return hashlib.blake2b(name.encode('utf-8', 'surrogatepass'), digest_size=8).digest()


def _part(split: CocoSplit, name: str, chosen: Set[int]) -> CocoSplit:
    images = [image for index, image in enumerate(split.data['images']) if index in chosen]
    ids = {image['id'] for image in images}
    annotations = [a for a in split.data['annotations'] if a['image_id'] in ids]
    return CocoSplit(name, split.images, {**split.data, 'images': images,
                                          'annotations': annotations})
