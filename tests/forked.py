"""Programs of this repository in processes of their own that need not import anything anew."""
import os
import runpy
import signal
import socket
import subprocess
import sys
import traceback
from typing import Dict, List, Optional, Sequence, Tuple

import torch
from mmengine.utils import ManagerMixin

from tests.conftest import ROOT


class Forked:
    """A copy of the test's process that runs a script, with the ways of :class:`subprocess.Popen`.

    Importing torch, mmdet and the rest takes a start of Python four seconds; the copy has it all.

    Args:
        command (Sequence): A script and its arguments, or ``-c`` and a program or ``-m`` and a
            module and theirs.
        read (bool): Give what it writes, errors too, on :attr:`stdout`; else it is thrown
            away. Defaults to False.
        **env: Variables of the environment that are changed.
    """

    def __init__(self, command: Sequence, read: bool = False, **env: str) -> None:
        self.args = [str(part) for part in command]
        self.returncode: Optional[int] = None
        reader, writer = os.pipe()
        sys.stdout.flush()
        self.pid = os.fork()
        if not self.pid:
            os.close(reader)
            os._exit(_run(self.args, writer if read else os.open(os.devnull, os.O_WRONLY), env))
        os.close(writer)
        self.stdout = os.fdopen(reader, encoding='utf-8', errors='replace')

    def poll(self) -> Optional[int]:
        """Return the exit code, negative for a signal; None while it runs."""
        return self._wait(os.WNOHANG)

    def wait(self) -> int:
        """Wait for the end; return the exit code."""
        code = self._wait(0)
        assert code is not None
        return code

    def communicate(self) -> Tuple[str, None]:
        """Wait for the end; return what was written and, as :mod:`subprocess` does, a pair."""
        with self.stdout:
            text = self.stdout.read()
        self.wait()
        return text, None

    def _wait(self, options: int) -> Optional[int]:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, options)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
        return self.returncode


class ForkedTool(Forked):
    """Stands for :class:`subprocess.Popen` where a tool starts another one of this repository."""

    def __init__(self, command: Sequence, env: Dict[str, str], **_) -> None:
        python, unbuffered, *script = command
        assert (python, unbuffered) == (sys.executable, '-u')
        super().__init__(script, read=True, **env)

    def terminate(self) -> None:
        """Ask it to end."""
        os.kill(self.pid, signal.SIGTERM)


def run_forked(command: Sequence, **env: str) -> str:
    """Run a :class:`Forked` to its end, which has to be a good one; return what it wrote."""
    process = Forked(command, read=True, **env)
    text = process.communicate()[0]
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, process.args, text)
    return text


def free_port() -> str:
    """Return the number of a port that nobody listens on."""
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        return str(server.getsockname()[1])


def start_ranks(command: Sequence, count: int = 2) -> List[Forked]:
    """Start the processes of a distributed training, as torchrun does."""
    env = dict(WORLD_SIZE=str(count), LOCAL_WORLD_SIZE=str(count), MASTER_ADDR='127.0.0.1',
               MASTER_PORT=free_port())
    return [Forked(command, read=True, RANK=str(rank), LOCAL_RANK=str(rank), **env)
            for rank in range(count)]


def end_of_ranks(ranks: Sequence[Forked]) -> List[str]:
    """Wait for processes, which have to end well; return what each wrote."""
    texts = [process.communicate()[0] for process in ranks]
    for process, text in zip(ranks, texts):
        assert process.returncode == 0, text[-3000:]
    return texts


def _forget_instances(kind: type) -> None:
    """Begin without the visualizers and message hubs of earlier tests, as a new process does."""
    for derived in kind.__subclasses__():
        derived._instance_dict.clear()
        _forget_instances(derived)


def _run(command: Sequence[str], output: int, env: Dict[str, str]) -> int:
    """Be the program; return its exit code."""
    code: object = 1
    try:
        for stream in (1, 2):
            os.dup2(output, stream)
        sys.stdout, sys.stderr = (os.fdopen(stream, 'w', 1, encoding='utf-8', closefd=False)
                                  for stream in (1, 2))
        torch.set_num_threads(1)  # a copy has none of the threads that its libraries count on
        _forget_instances(ManagerMixin)
        os.chdir(ROOT)
        os.environ.update(env)
        option, program = (command[0], command[1:]) if command[0] in ('-c', '-m') else ('', command)
        sys.argv = ['-c' if option == '-c' else program[0], *program[1:]]
        if option == '-c':
            exec(compile(program[0], '-c', 'exec'), {'__name__': '__main__'})
        elif option == '-m':
            runpy.run_module(program[0], run_name='__main__', alter_sys=True)
        else:
            runpy.run_path(program[0], run_name='__main__')
        code = 0
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return code if isinstance(code, int) else int(code is not None)
