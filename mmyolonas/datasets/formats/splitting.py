"""Setting images aside for validation, the same ones every time."""
import hashlib
import re
from collections import Counter, defaultdict
from typing import Dict, List, Sequence, Set, Tuple

from mmyolonas.datasets.formats.coco_split import CocoSplit
from mmyolonas.utils.data_error import DataError

_MAX_VAL = 2000  # images; more make the scores hardly surer and the epochs longer
_SMALL_GROUP = 8  # images that look alike and are not worth dividing
# Roboflow's exports call copies of an image <source>.rf.<hash>.jpg
_COPY = re.compile(r'(.+)\.rf\.[0-9a-fA-F]{8,}$')


def source_name(file_name: str) -> str:
    """Return the name an image had before an export made copies of it."""
    stem = file_name.rsplit('.', 1)[0]
    match = _COPY.match(stem)
    return match[1] if match else file_name


def split_off(split: CocoSplit, similar: Sequence[Sequence[int]] = (), name: str = 'val',
              fraction: float = 0.2, same: Sequence[Sequence[int]] = ()
              ) -> Tuple[CocoSplit, CocoSplit]:
    """Divide a part into one to train on and one to validate on.

    Which images go depends on their file names alone: not on their order, nor
    on a seed. Images that look the same and copies of one source stay together,
    and every class keeps an image to train on. A group that is larger than the
    new part should be, such as the frames of a fixed camera, is divided in blocks:
    of each of its series the last images in the order of time (``date_captured``)
    or name, so that few images have a neighbour on the other side.

    Args:
        split (CocoSplit): The part; it is not changed.
        similar (Sequence[Sequence[int]]): Groups of indices of images that look
            the same.
        name (str): Name of the new part. Defaults to 'val'.
        fraction (float): Its share of the images, 0..1, at most 2,000 images.
        same (Sequence[Sequence[int]]): Groups of indices of equal files, which are
            never divided.

    Returns:
        tuple[CocoSplit, CocoSplit]: The rest, and the new part.

    Raises:
        DataError: There are too few images to divide.
    """
    images = split.data['images']
    names = [image['file_name'] for image in images]
    units = _groups(names, same)
    if len(units) < 2:
        raise DataError(f"'{split.ann_file or split.images}' has {len(images)} images of which no "
                        'two differ: add some, at least one to train on and one to validate on')
    groups = _groups(names, [*same, *similar])
    wanted = min(_MAX_VAL, max(1, round(fraction * len(images))))
    choice = _Choice(split)
    large = [g for g in groups if len(groups) == 1 or len(g) > max(wanted, _SMALL_GROUP)]
    for group in large:
        members = set(group)
        blocks = [unit for unit in units if unit[0] in members]
        for series in _series(blocks, images):
            choice.take_block(series, max(1, round(wanted / len(images) * len(group)
                                                   * len(series) / len(blocks))))
    small = [group for group in groups if group not in large]
    for group in small if large else small[:-1]:
        if len(choice.chosen) >= wanted:
            break
        choice.take(group)
    if not choice.chosen:
        # every image has a class of its own: the scores will say little
        choice.chosen.update(min(small or units, key=len))
    chosen = choice.chosen
    rest = _part(split, split.name, set(range(len(images))) - chosen)
    # boxes of images that are not there stay, to be counted by the check of all boxes
    known = {image['id'] for image in images}
    rest.data['annotations'] += [a for a in split.data['annotations'] if a['image_id'] not in known]
    return rest, _part(split, name, chosen)


class _Choice:
    """The images that go, so that every class keeps one to train on.

    Args:
        split (CocoSplit): The part to divide.
    """

    def __init__(self, split: CocoSplit) -> None:
        number = {image['id']: index for index, image in enumerate(split.data['images'])}
        self.classes: Dict[int, Set] = defaultdict(set)
        for annotation in split.data['annotations']:
            if annotation['image_id'] in number:
                self.classes[number[annotation['image_id']]].add(annotation['category_id'])
        self.left = Counter(key for found in self.classes.values() for key in found)
        self.chosen: Set[int] = set()

    def take(self, group: Sequence[int]) -> bool:
        """Take images if every class keeps one; say whether."""
        taken = Counter(key for index in group for key in self.classes[index])
        if not all(self.left[key] > count for key, count in taken.items()):
            return False
        self.left -= taken
        self.chosen.update(group)
        return True

    def take_block(self, series: List[List[int]], size: int) -> None:
        """Take neighbours of a series, from its end if its classes allow."""
        size = min(size, len(series) - 1)
        if size < 1:
            return
        last = len(series) - size
        starts = sorted({last, 0, *range(0, last, max(1, size // 2))},
                        key=lambda start: (start != last, -start))
        blocks = [[index for unit in series[start:start + size] for index in unit]
                  for start in starts]
        # a block without objects measures nothing
        blocks.sort(key=lambda block: not any(self.classes[index] for index in block))
        any(self.take(block) for block in blocks)


def _series(units: List[List[int]], images: List[dict]) -> List[List[List[int]]]:
    """Return the units of each series (a camera, a film, a conveyor) in order.

    Series differ in the names without their last number; those of a few images are
    taken together.
    """
    times = [str(images[unit[0]].get('date_captured') or '') for unit in units]
    timed = len(set(times)) > len(units) / 2
    order = sorted(range(len(units)), key=lambda i: (
        times[i] if timed else '', _natural(images[units[i][0]]['file_name'])))
    by_name: Dict[str, List[List[int]]] = defaultdict(list)
    for index in order:
        stem = source_name(images[units[index][0]]['file_name'])
        by_name[re.sub(r'\d+(?=\D*$)', '', stem)].append(units[index])
    if any(len(series) < _SMALL_GROUP for series in by_name.values()):
        return [[units[index] for index in order]]
    return list(by_name.values())


def _natural(name: str) -> List[Tuple[bool, int, str]]:
    """Return a key that sorts frame 10 behind frame 9."""
    parts = re.findall(r'\d+|\D+', name.lower())
    return [(not part.isdecimal(), int(part) if part.isdecimal() and len(part) < 30 else 0, part)
            for part in parts]


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
