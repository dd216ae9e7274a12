"""Type aliases."""
from typing import List, Optional, Union

OptConfig = Optional[Union[dict, List[dict]]]


def pick_arch(arch: Union[str, dict], settings: dict, owner: str) -> dict:
    """Return an architecture table by name, or the table that was given.

    Args:
        arch (str | dict): Name in ``settings``, or a table with the same keys.
        settings (dict): The tables by name.
        owner (str): Class name for the error message.

    Raises:
        ValueError: Unknown name, or a key is missing.
    """
    if isinstance(arch, str):
        if arch not in settings:
            raise ValueError(
                f'{owner}: unknown arch {arch!r}; choose one of {", ".join(settings)} '
                'or give a table.')
        return settings[arch]
    missing = set(next(iter(settings.values()))) - set(arch)
    if missing:
        raise ValueError(f'{owner}: the arch table lacks {", ".join(sorted(missing))}.')
    return arch
