"""Which part of a data set the name of a file speaks of."""
import re
from pathlib import Path
from typing import Optional

#: Words for 'train', 'val' and 'test' in names of files and folders.
WORDS = {'train': 'train', 'training': 'train', 'trainval': 'train', 'val': 'val',
         'valid': 'val', 'validation': 'val', 'dev': 'val', 'test': 'test', 'testing': 'test'}


def split_of(path: Path, root: Path) -> Optional[str]:
    """Return the part that a file's name, or else its folders' names, speak of."""
    try:
        folders = path.relative_to(root).parts[:-1]
    except ValueError:
        folders = ()
    for name in (path.stem, *reversed(folders)):
        for word in re.findall(r'[a-z]+', name.lower()):
            if word in WORDS:
                return WORDS[word]
    return None
