"""Writing files so that a name never shows half a file."""
from contextlib import contextmanager
from typing import Iterator

from mmyolonas.utils import files


@contextmanager
def atomic_path(path: str) -> Iterator[str]:
    """:func:`mmyolonas.utils.files.atomic_path` with a message for closed folders.

    Args:
        path (str): Final name.

    Yields:
        str: Name to write to.

    Raises:
        PermissionError: The folder cannot be created or written to.
    """
    manager = files.atomic_path(path)
    try:
        temporary = manager.__enter__()
    except OSError as error:
        raise PermissionError(
            f'cannot write {path}: {error}. Choose a folder you may write to.') from error
    try:
        yield str(temporary)
    except BaseException as error:
        if not manager.__exit__(type(error), error, error.__traceback__):
            raise
    else:
        manager.__exit__(None, None, None)
