"""Names from data (classes, files, data sets) where people and other programs read them."""
import unicodedata
from typing import Any

#: A spreadsheet runs cells that begin with these as formulas.
_FORMULA = ('=', '+', '-', '@', '\t', '\r', '|', '%')
# characters that turn the direction of the text around them
_TURNING = frozenset('\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069')


def printable(text: Any) -> str:
    r"""Return text without what steers a terminal or breaks a line, a table or a font.

    Control characters, line breaks and halves of characters become escapes such as
    ``\x1b``; everything else, also of other alphabets, stays.
    """
    text = str(text)
    if text.isprintable() and _TURNING.isdisjoint(text):
        return text
    return ''.join(
        character.encode('unicode_escape').decode()
        if unicodedata.category(character) in ('Cc', 'Cs', 'Zl', 'Zp') or character in _TURNING
        else character for character in text)


def markdown_cell(text: Any) -> str:
    """Return text that stays in its cell of a Markdown table."""
    return printable(text).replace('\\', '\\\\').replace('|', '\\|').replace('<', '&lt;')


def csv_cell(value: Any) -> Any:
    """Return a value that a spreadsheet shows and does not run; numbers as they are.

    A text that begins like a formula gets an apostrophe in front, as spreadsheets
    themselves write it; :func:`from_csv_cell` takes it away.
    """
    if not isinstance(value, str):
        return value
    risky = value.startswith(_FORMULA) or value.lstrip().startswith(_FORMULA)
    return "'" + value if value.startswith("'") or risky and not _is_number(value) else value


def from_csv_cell(text: str) -> str:
    """Return the text that :func:`csv_cell` was given."""
    return text[1:] if text.startswith("'") else text


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return text == text.strip()
