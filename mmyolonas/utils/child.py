"""A tool started by another tool ends with it."""
import os
import signal
import sys

#: Environment variable with the process that a tool is to end with.
PARENT = 'MMYOLONAS_PARENT'

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def end_with_parent() -> None:
    """Let the system end this process when the one that started it is killed.

    Only if that one asked for it by :data:`PARENT`, and on Linux; elsewhere a killed
    tool's children run on. Processes that this one starts are not concerned.
    """
    parent = os.environ.pop(PARENT, None)
    if parent is None or not sys.platform.startswith('linux'):
        return
    import ctypes
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != int(parent):  # it was killed in the meantime
        sys.exit(1)
