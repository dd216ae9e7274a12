"""Names, mirror partners and lines of a data set's key points."""
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any, Dict, Iterable, List, Optional, Sequence, Tuple

from mmyolonas.datasets.formats.coco_split import CocoSplit, boxes_by_name
from mmyolonas.datasets.formats.coco_values import class_name, number_of
from mmyolonas.utils.data_error import DataError

#: Words that exchange their places in a mirror.
_SIDES = (('left', 'right'), ('l', 'r'), ('links', 'rechts'), ('linke', 'rechte'),
          ('gauche', 'droite'), ('gauche', 'droit'), ('izquierda', 'derecha'),
          ('izquierdo', 'derecho'), ('sinistra', 'destra'), ('sinistro', 'destro'),
          ('tl', 'tr'), ('bl', 'br'), ('ul', 'ur'), ('ll', 'lr'), ('nw', 'ne'), ('sw', 'se'),
          ('west', 'east'))
_PARTNER = {word: other for pair in _SIDES for word, other in (pair, pair[::-1])}
_WORD = re.compile(r'[a-z]+|[A-Z]+(?![a-z])|[A-Z][a-z]*|\d+|[^\W\d_]+')
_NUMBERED = re.compile(r'(?i)(kp|kpt|pt|p|point|keypoint|landmark|joint|node|marker|class)?'
                       r'[\W_]*\d+')


@dataclass
class Keypoints:
    """The key points of a data set's objects, K of them.

    Attributes:
        names (tuple[str]): K names, distinct.
        named (bool): Whether the data give them; if not they are numbers.
        flip (tuple[int], optional): For each point the one that takes its place in a
            mirror image; None where nobody can tell.
        links (tuple[tuple[int, int]]): Pairs that a line joins.
        unpaired (tuple[str]): Names of one side without the other.
    """
    names: Tuple[str, ...]
    named: bool
    flip: Optional[Tuple[int, ...]]
    links: Tuple[Tuple[int, int], ...] = ()
    unpaired: Tuple[str, ...] = ()


def read_keypoints(splits: Iterable[CocoSplit], notes: List[str]) -> Keypoints:
    """Return what the categories of a data set say of their key points.

    Categories whose objects have none are taken out of the splits, in place.

    Args:
        splits (Iterable[CocoSplit]): All parts.
        notes (list[str]): Gets sentences on what was left out.

    Raises:
        DataError: There are no key points, their number differs between categories, or
            names, lines or mirror partners are wrong.
    """
    splits = list(splits)
    lengths = {name: _length(name, splits) for name in _used(splits)}
    without = [name for name, length in lengths.items() if not length]
    sizes = {length for length in lengths.values() if length}
    if not sizes:
        raise DataError('the labels hold boxes but no key points: a pose model needs '
                        '"keypoints" with each object (COCO), or lines of class, box and points '
                        '(YOLO-pose with kpt_shape in the data.yaml)')
    if len(sizes) > 1:
        shown = ', '.join(f'{name!r}: {length}' for name, length in lengths.items() if length)
        raise DataError('a pose model has one number of key points for all objects, but the '
                        f'classes differ ({shown}): train each kind by itself')
    if without:
        _take_out(splits, set(without))
        notes.append(f'objects of {", ".join(map(repr, without))} have no key points: they are '
                     'left out')
    if len(lengths) - len(without) > 1:
        notes.append(f'the {len(lengths) - len(without)} classes become one: a pose model finds '
                     'objects of one kind')
    count, = sizes
    category = _described(splits, [name for name in lengths if name not in without])
    names, named = _names(category.get('keypoints'), count)
    flip = _flip_of(category.get('flip_idx'), count)
    unpaired: Tuple[str, ...] = ()
    if flip is None and named:
        flip, unpaired = mirror_partners(names)
    return Keypoints(names, named, flip, _links(category.get('skeleton'), count), unpaired)


def mirror_partners(names: Sequence[str]) -> Tuple[Optional[Tuple[int, ...]], Tuple[str, ...]]:
    """Find the points that exchange their places in a mirror by their names.

    ``left_eye`` and ``right_eye``, ``LEar`` and ``REar``, ``eye.l``, ``leftear``, ``tl`` and
    ``tr``; also in German, French, Spanish and Italian.

    Args:
        names (Sequence[str]): The names.

    Returns:
        tuple: For each point its partner (itself if it is on neither side), None if a name of
        one side lacks the other; and the names that do.
    """
    index: Dict[Tuple[str, ...], int] = {}
    for number, name in enumerate(names):
        index.setdefault(words_of(name), number)
        index.setdefault((''.join(words_of(name)), ), number)
    flip, alone = list(range(len(names))), []
    for number, name in enumerate(names):
        sided, found = False, None
        for other, certain in _mirrored(name):
            sided |= certain
            if found is None and index.get(other, number) != number:
                found = index[other]
        if found is not None:
            flip[number] = found
        elif sided:
            alone.append(name)
    consistent = all(flip[flip[number]] == number for number in range(len(names)))
    return (tuple(flip) if consistent and not alone else None), tuple(alone)


def words_of(name: str) -> Tuple[str, ...]:
    """Return the words of a name in small letters: LeftEar_2 is left, ear, 2."""
    return tuple(word.lower() for word in _WORD.findall(name))


def _mirrored(name: str) -> Iterable[Tuple[Tuple[str, ...], bool]]:
    """Yield names of the other side, and whether the name surely speaks of a side."""
    words = words_of(name)
    for place, word in enumerate(words):
        for one, other in (pair for side in _SIDES for pair in (side, side[::-1])):
            if word == one:
                swapped = (*words[:place], other, *words[place + 1:])
                yield swapped, True
                yield (''.join(swapped), ), True
            elif word.startswith(one) or word.endswith(one):
                # written together: leftear, earleft, lear
                rest = word[len(one):] if word.startswith(one) else word[:-len(one)]
                joined = other + rest if word.startswith(one) else rest + other
                surely = one in ('left', 'right') and word.startswith(one)  # not 'bright'
                yield (*words[:place], joined, *words[place + 1:]), surely


def _used(splits: List[CocoSplit]) -> List[str]:
    counts: Counter = sum((boxes_by_name(split.data) for split in splits), Counter())
    return [name for name in dict.fromkeys(
        category['name'] for split in splits for category in split.data['categories'])
        if counts[name]]


def _length(name: str, splits: List[CocoSplit]) -> int:
    """Return the number of key points of a category's objects; 0 without."""
    stated, lengths = 0, Counter()
    for split in splits:
        ids = set()
        for category in split.data['categories']:
            if category['name'] == name:
                ids.add(category['id'])
                points = category.get('keypoints')
                stated = stated or (len(points) if isinstance(points, (list, tuple)) else 0)
        for annotation in split.data['annotations']:
            points = annotation.get('keypoints')
            if annotation['category_id'] in ids and isinstance(points, (list, tuple)) and points:
                nested = isinstance(points[0], (list, tuple))
                lengths[len(points) if nested else len(points) // 3] += 1
    return (stated or lengths.most_common(1)[0][0]) if lengths else 0


def _take_out(splits: List[CocoSplit], names: set) -> None:
    for split in splits:
        gone = {c['id'] for c in split.data['categories'] if c['name'] in names}
        split.data = dict(
            split.data,
            categories=[c for c in split.data['categories'] if c['id'] not in gone],
            annotations=[a for a in split.data['annotations'] if a['category_id'] not in gone])


def _described(splits: List[CocoSplit], names: List[str]) -> Dict[str, Any]:
    """Return the category that says most."""
    found = [category for split in splits for category in split.data['categories']
             if category['name'] in names]
    keys = ('keypoints', 'skeleton', 'flip_idx')
    return max(found, key=lambda category: sum(bool(category.get(key)) for key in keys))


def _names(given: Any, count: int) -> Tuple[Tuple[str, ...], bool]:
    """Return distinct names, and whether they are the data's own and mean something."""
    plain = tuple(f'point {number}' for number in range(1, count + 1))
    if not isinstance(given, (list, tuple)) or not given:
        return plain, False
    names = [class_name(name, 'the name of a key point') for name in given]
    if len(set(names)) < count:
        double = [name for name, often in Counter(names).items() if often > 1]
        raise DataError(f'two key points are called {double[0]!r}: give each its own name')
    return tuple(names), not all(_NUMBERED.fullmatch(name) or len(name) == 1 for name in names)


def _flip_of(given: Any, count: int) -> Optional[Tuple[int, ...]]:
    """Return stated mirror partners."""
    if given in (None, '', []):
        return None
    numbers = [number_of(value) for value in given] if isinstance(given, (list, tuple)) else []
    if sorted(map(str, numbers)) != sorted(map(str, range(count))) or any(
            numbers[numbers[place]] != place for place in range(count)):
        raise DataError(f'flip_idx must name for each of the {count} key points (0 to {count - 1}) '
                        f'the one that a mirror exchanges it with, in both directions; got '
                        f'{str(given)[:80]}')
    return tuple(numbers)


def _links(given: Any, count: int) -> Tuple[Tuple[int, int], ...]:
    """Return the lines of a skeleton, counted from 0; those that lead nowhere are left out."""
    links = []
    for pair in given if isinstance(given, (list, tuple)) else ():
        numbers = [number_of(v) for v in pair] if isinstance(pair, (list, tuple)) else []
        if len(numbers) == 2 and all(isinstance(n, int) and 0 <= n <= count for n in numbers):
            links.append(tuple(numbers))
    first = 0 if any(0 in link for link in links) else 1  # COCO counts from 1
    return tuple((a - first, b - first) for a, b in links
                 if a != b and max(a, b) - first < count)
