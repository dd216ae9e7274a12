"""How the images of a data set may be mirrored."""
import math
import re
from typing import List

from mmyolonas.datasets.inspection.records import DataReport
from mmyolonas.utils.names import printable

_FEW_OBJECTS = 100  # that an upside-down one would have to be told from
# Standard deviations that the mean height of objects is off the middle. COCO: 0.23 and more,
# blood cells: 0.01, a mouse from above: 0.08.
_SHIFT = 0.12
# How much more an object differs from itself upside down than from itself in a mirror.
# Blood cells: 1.2, circuit boards: 0.7; COCO's objects: 3.4 and 2.2.
_RATIO = 1.5

#: Words for what stands, sits, hangs or drives: a picture of it upside down does not occur.
UPRIGHT = frozenset(re.findall('[a-z]+', '''
person people man men woman women child children boy girl baby player rider driver pedestrian
worker human face head body hand helmet hat mask vest shirt dress shoe jacket glasses
car truck bus van train tram motorcycle motorbike bicycle bike scooter vehicle tractor
excavator crane forklift boat ship sailboat aeroplane airplane plane helicopter
animal bird cat dog horse sheep cow cattle goat pig elephant bear zebra giraffe deer fox wolf
rabbit raccoon squirrel monkey kangaroo koala lion tiger leopard penguin duck chicken hen goose
owl eagle hawk turkey puppy kitten
tree building house door window fence pole bridge tower sign light traffic hydrant meter bench
chair sofa couch table diningtable desk bed lamp toilet sink oven stove refrigerator fridge
microwave toaster tv tvmonitor monitor laptop computer bottle cup glass mug vase bowl pot
pottedplant plant flower clock fire smoke sky road horizon goal stairs licence license plate
'''))


def choose_flip(report: DataReport, wanted: str, reasons: List[str]) -> str:
    """Return how images may be mirrored, and say why.

    Upside down only where nothing speaks against it: an augmentation that shows what
    never occurs costs more than one that is left out.

    Args:
        report (DataReport): What was seen of the data.
        wanted (str): 'auto', 'both', 'horizontal' or 'none'.
        reasons (list[str]): Gets the reason, a sentence.
    """
    if wanted != 'auto':
        return wanted
    words = {name: set(re.findall(r'[a-z]+', name.lower())) for name in report.classes}
    if any({'left', 'right'} & own for own in words.values()) or all(
            len(name) == 1 for name in report.classes):
        reasons.append('images are not mirrored: the class names are signs or speak of left and '
                       'right (--flip)')
        return 'none'
    against = _against(report, words)
    if against:
        reasons.append(f'images are mirrored left to right alone, {against}: if an upside-down '
                       'image could occur (as from above or under a microscope), give --flip both')
        return 'horizontal'
    reasons.append('images are mirrored both ways: objects are anywhere between top and bottom and '
                   'look the same upside down; if that cannot occur, give --flip horizontal')
    return 'both'


def _against(report: DataReport, words: dict) -> str:
    """Return what speaks against upside-down images; empty if nothing does."""
    for name, own in words.items():
        # plurals too
        found = {word for word in own if word in UPRIGHT or word.removesuffix('s') in UPRIGHT}
        if found:
            return f'since {printable(name)!r} has a top and a bottom'
    upright = getattr(report, 'upright', None)
    if upright is None or upright.objects < _FEW_OBJECTS:
        count = 0 if upright is None else upright.objects
        return f'the harmless choice: {count} objects are too few to tell'
    if _keep_their_height(report):
        return 'since objects keep to some height in them'
    if upright.ratio > _RATIO:
        return (f'since objects have a top and a bottom (upside down they differ '
                f'{upright.ratio:.1f} times as much as in a mirror)')
    return ''


def _keep_their_height(report: DataReport) -> bool:
    """Whether objects are rather high or rather low in the images, beyond chance.

    Brightness tells less: apparatus lights its images from one side, too.
    """
    part = report.splits['train']
    boxes, sizes = part.table.boxes, part.sizes[part.table.images]
    height = boxes[:, 1::2].mean(1) / sizes[:, 1] - 0.5
    shift = abs(height.mean()) / max(height.std(), 1e-6)
    return bool(shift > _SHIFT + 1 / math.sqrt(len(height)))
