"""Every import runs down, by the contracts of pyproject.toml; files and functions are short."""
import ast
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT, known_seconds


def test_floors():
    linter = Path(sys.executable).with_name('lint-imports')
    if not linter.exists():
        pytest.skip('needs import-linter, which is not in this environment')
    done = subprocess.run([str(linter), '--no-cache'], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert 'Floors of the house KEPT' in done.stdout


#: What is held to the lengths; tests and configs are lists by nature.
ROOMS = ('mmyolonas', 'tools', 'benchmarks', 'demo')
FILE_LINES, FUNCTION_LINES = 350, 60


def too_long(source: str, name: str) -> list:
    """Say which of a file and its functions (decorators not counted) are too long."""
    count = len(source.splitlines())
    found = [f'{name}: {count} lines'] if count > FILE_LINES else []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            count = node.end_lineno - node.lineno + 1
            if count > FUNCTION_LINES:
                found.append(f'{name}:{node.lineno} {node.name}: {count} lines')
    return found


def test_files_and_functions_are_short():
    files = [file for room in ROOMS for file in (ROOT / room).rglob('*.py')
             if '.mim' not in file.parts]
    assert len(files) > 200
    found = [line for file in sorted(files)
             for line in too_long(file.read_text('utf-8'), str(file.relative_to(ROOT)))]
    assert not found, '\n'.join(found)


def test_what_is_too_long_is_named():
    source = 'class A:\n    def f(self):\n' + '        pass\n' * 60
    assert too_long(source, 'a.py') == ['a.py:2 f: 61 lines']
    assert too_long('x = 1\n' * 351, 'b.py') == ['b.py: 351 lines']
    assert too_long('x = 1\n' * 350, 'b.py') == []


def test_long_tests_exist():
    for name in known_seconds():
        path, *_, function = name.split('::')
        assert f'def {function}(' in (ROOT / path).read_text('utf-8'), name
