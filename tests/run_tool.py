"""Calls a command-line tool within the test's process."""
import runpy
import sys
from unittest import mock

from tests.conftest import ROOT


def run_tool(tool: str, *arguments) -> int:
    """Run ``tools/...`` or ``demo/...`` as a script; return its exit code.

    Args:
        tool (str): Path from the repository's root.
        *arguments: The command line.
    """
    path = str(ROOT / tool)
    with mock.patch.object(sys, 'argv', [path, *map(str, arguments)]):
        try:
            runpy.run_path(path, run_name='__main__')
        except SystemExit as end:
            return int(end.code or 0)
    return 0
