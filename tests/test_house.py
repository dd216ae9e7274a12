"""Every import runs down: the contracts of pyproject.toml."""
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT


def test_floors():
    linter = Path(sys.executable).with_name('lint-imports')
    if not linter.exists():
        pytest.skip('needs import-linter, which is not in this environment')
    done = subprocess.run([str(linter), '--no-cache'], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert 'Floors of the house KEPT' in done.stdout
