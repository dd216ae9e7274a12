"""Text files of data sets in the encodings that programs write."""
import codecs
from pathlib import Path

from mmyolonas.utils.data_error import DataError

_MARKS = ((codecs.BOM_UTF8, 'utf-8-sig'), (codecs.BOM_UTF32_LE, 'utf-32'),
          (codecs.BOM_UTF32_BE, 'utf-32'), (codecs.BOM_UTF16_LE, 'utf-16'),
          (codecs.BOM_UTF16_BE, 'utf-16'))


def read_text(path: Path) -> str:
    """Return a text file: UTF-8, what its byte-order mark says, or else Windows' Latin.

    Raises:
        DataError: It cannot be read, or is no text.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}") from None
    encoding = next((name for mark, name in _MARKS if data.startswith(mark)), 'utf-8')
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode('cp1252', errors='replace')
    if '\0' in text:
        raise DataError(f"'{path}' is no text file: it was probably damaged, copy it again")
    return text


def is_leftover(path: Path) -> bool:
    """Whether a file is one that macOS or an editor leaves beside others (``._a.xml``)."""
    return any(part.startswith('._') or part in ('__MACOSX', '.DS_Store', '.ipynb_checkpoints')
               for part in path.parts[-3:])
