r"""Values from data as text that stays data in a config.

mmengine substitutes ``{{ fileBasename }}``, ``{{$VARIABLE:default}}`` and
``{{ _base_.name }}`` in the *text* of a config, JSON included, before anything
parses it. So a string that holds such a pattern changes, or leaves its quotes and
becomes code, however well it was quoted. All patterns begin with two braces, and
in a string both Python and JSON read ``\\u007b`` as a brace.
"""
import ast
import json
import math
import pprint
from pathlib import Path
from typing import Any, Dict, Union

from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import write_text

_NUMBERS = {'inf': math.inf, 'nan': math.nan}


def inert(text: str) -> str:
    """Return source text without two braces in a row, of the same meaning.

    Args:
        text (str): Python or JSON in which ``{{`` occurs in ordinary (not raw)
            string literals alone.
    """
    return text.replace('{{', '{\\u007b')


def literal(value: Any, width: int = 80) -> str:
    """Return Python source of a value that mmengine reads as exactly this value.

    Args:
        value: Strings, numbers, None, lists, tuples and dicts of such.
        width (int): Where lines are broken. Defaults to 80.
    """
    text = pprint.pformat(value, width=width, compact=True, sort_dicts=False)
    try:
        text.encode()
    except UnicodeEncodeError:  # file names may hold bytes that are no text
        text = ascii(value)
    return inert(text)


def comment(text: str) -> str:
    """Return text that may stand in a comment of a config: one line, no substitution."""
    return ' '.join(text.split()).replace('{', '{ ').encode('ascii', 'backslashreplace').decode()


def write_config_values(path: Union[str, Path], values: Dict[str, Any]) -> None:
    """Write values as JSON that a config names in its ``_base_``, atomically.

    Args:
        path (str | Path): The file, with the suffix ``.json``.
        values (dict): One entry for each variable of the config.
    """
    text = json.dumps(values, indent=1, ensure_ascii=False)
    try:
        text.encode()
    except UnicodeEncodeError:
        text = json.dumps(values, indent=1)
    write_text(path, inert(text) + '\n')


def parse_config_text(text: str, source: str) -> Dict[str, Any]:
    """Return the variables of a config's text without running it.

    Args:
        text (str): What mmengine writes of a config: assignments of literals and of
            ``dict(key=value)``.
        source (str): Where the text is from, for the message.

    Raises:
        UserError: The text holds anything else, such as a call or an import.
    """
    try:
        return _assignments(ast.parse(text))
    except (SyntaxError, TypeError, ValueError, RecursionError, MemoryError) as error:
        raise UserError(f'the config inside {source} is not plain data ({error}), and text from a '
                        'checkpoint is never run: give the config as a file.') from error


def _assignments(tree: ast.Module) -> Dict[str, Any]:
    values = {}
    for statement in tree.body:
        if not (isinstance(statement, ast.Assign) and len(statement.targets) == 1
                and isinstance(statement.targets[0], ast.Name)):
            raise ValueError(f'line {statement.lineno} is no assignment of a value to a name')
        values[statement.targets[0].id] = _value(statement.value)
    return values


def _value(node: ast.expr) -> Any:
    if isinstance(node, ast.Name) and node.id in _NUMBERS:
        return _NUMBERS[node.id]
    if isinstance(node, (ast.List, ast.Tuple)):
        items = [_value(item) for item in node.elts]
        return items if isinstance(node, ast.List) else tuple(items)
    if isinstance(node, ast.Dict):
        if None in node.keys:
            raise ValueError(f'line {node.lineno} merges dictionaries')
        return {_value(key): _value(value) for key, value in zip(node.keys, node.values)}
    if isinstance(node, ast.Call):
        return _dict_call(node)
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        value = _value(node.operand)
        if isinstance(value, (int, float)):
            return -value
    return ast.literal_eval(node)


def _dict_call(node: ast.Call) -> Dict[str, Any]:
    """Return the value of ``dict(key=value)`` or ``dict({key: value})``; mmengine writes both."""
    if not (isinstance(node.func, ast.Name) and node.func.id == 'dict') or len(node.args) > 1:
        raise ValueError(f'line {node.lineno} calls a function')
    first = _value(node.args[0]) if node.args else {}
    if not isinstance(first, dict) or any(keyword.arg is None for keyword in node.keywords):
        raise ValueError(f'line {node.lineno} is no dictionary of names and values')
    return {**first, **{keyword.arg: _value(keyword.value) for keyword in node.keywords}}
