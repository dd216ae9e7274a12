"""Docstrings as Markdown: the roles of Sphinx become code."""
import re
from typing import Any

from griffe import Extension

_ROLE = re.compile(r':\w+:`~?([^`]+)`')


def as_markdown(text: str) -> str:
    """Return a docstring without roles: the last part of what they name, as code."""
    return _ROLE.sub(lambda match: f'`{match[1].rsplit(".", 1)[-1]}`' if match[0].count('~')
                     else f'`{match[1]}`', text)


class Roles(Extension):
    """Rewrite every docstring when it is read."""

    def on_instance(self, *, obj: Any, **kwargs: Any) -> None:
        """Rewrite the docstring of one object."""
        if obj.docstring:
            obj.docstring.value = as_markdown(obj.docstring.value)
