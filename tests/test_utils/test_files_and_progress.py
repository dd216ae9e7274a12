"""Atomic writing, progress lines, and work in stages."""
import json
import os
import sys
import time
from pathlib import Path

import pytest

from mmyolonas.utils import UserError, atomic_path, format_duration, track, write_json, write_text
from mmyolonas.utils.errors import FullDiskError
from mmyolonas.utils.stages import Stage, StageRunner, run_tool
from tests.killing import kill_when, start, wait_until


def test_atomic_path(tmp_path):
    path = tmp_path / 'new' / 'file.txt'
    write_text(path, 'first')
    assert path.read_text() == 'first'
    with pytest.raises(KeyError), atomic_path(path) as temporary:
        assert temporary.suffix == '.txt' and temporary.parent == path.parent
        temporary.write_text('half')
        raise KeyError
    assert path.read_text() == 'first'
    assert os.listdir(path.parent) == ['file.txt']
    plain = tmp_path / 'plain'
    plain.write_text('')
    assert path.stat().st_mode == plain.stat().st_mode


def test_format_duration():
    assert [format_duration(s) for s in (0, 59.6, 3599, 3661)] == [
        '00:00', '01:00', '59:59', '1:01:01']


def test_track(monkeypatch):
    now = [0.0]
    monkeypatch.setattr('time.monotonic', lambda: now[0])
    lines = []
    for _ in track(range(4), 'work', interval=5.0, report=lines.append):
        now[0] += 3.0
    assert lines == ['work: 2/4, 3.0 s each, 00:06 gone, 00:06 left',
                     'work: 4/4, 3.0 s each, 00:12 gone', 'work: 4/4, 3.0 s each, 00:12 gone']
    lines.clear()
    list(track(iter('ab'), 'quick', report=lines.append))
    assert lines == []


class Work:
    """Stages that count how often they are run."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / 'made'
        self.runs = []
        self.fail = False

    def make(self, context) -> dict:
        self.runs.append('make')
        self.file.write_text('x')
        return dict(size=1)

    def use(self, context) -> dict:
        self.runs.append('use')
        # a process that is killed now leaves a note that it had begun
        state = json.loads((self.file.parent / 'stages.json').read_text())
        assert state['stages']['use']['done'] is False
        if self.fail:
            raise UserError('no')
        return dict(score=0.123456, path=self.file)

    def runner(self, folder: Path, **options) -> StageRunner:
        runner = StageRunner([Stage('make', 'Making', self.make, lambda c: [self.file]),
                              Stage('use', 'Using', self.use)], folder, options)
        runner.load()
        return runner


def test_stages_resume(tmp_path, capsys):
    work = Work(tmp_path)
    work.fail = True
    with pytest.raises(UserError):
        work.runner(tmp_path).run(None)
    work.fail = False
    work.runner(tmp_path).run(None)
    assert work.runs == ['make', 'use', 'use']
    runner = work.runner(tmp_path)
    runner.run(None)  # all is done
    assert work.runs == ['make', 'use', 'use']
    assert runner.results('use')['score'] == 0.123456
    table = runner.summary('Title')
    assert '| Using | 00:00 | score 0.1235, path ' in table
    assert (tmp_path / 'summary.md').read_text() == table
    work.file.unlink()  # a result is gone: it and what follows is made again
    work.runner(tmp_path).run(None)
    assert work.runs[3:] == ['make', 'use']
    work.runner(tmp_path, other=1).run(None)
    assert work.runs[5:] == ['make', 'use']
    work.runner(tmp_path, other=1).run(None, only=['use'])
    assert work.runs[7:] == ['use']
    with pytest.raises(UserError, match='unknown stage nothing; there are make, use'):
        work.runner(tmp_path).run(None, only=['nothing'])
    assert 'done before' in capsys.readouterr().out


def test_run_tool(tmp_path, capfd):
    script = tmp_path / 'script.py'
    script.write_text('import sys\nprint("noise")\nprint("step 1 of 2 end")\n'
                      'sys.exit(len(sys.argv) - 1)')
    log = tmp_path / 'log.txt'
    run_tool([str(script)], log, show=r'step \d of \d')
    assert capfd.readouterr().out == '    step 1 of 2\n'
    assert log.read_text() == 'noise\nstep 1 of 2 end\n'
    with pytest.raises(UserError, match=r'script.py failed \(exit code 2\)(.|\n)*step 1 of 2 end'):
        run_tool([str(script), 'a', 'b'], log, show='nothing')


def test_write_json(tmp_path):
    write_json(tmp_path / 'a.json', dict(name='Größe'))
    assert 'Größe' in (tmp_path / 'a.json').read_text(encoding='utf-8')


def test_time_of_a_killed_stage_is_not_lost(tmp_path, monkeypatch):
    monkeypatch.setattr('mmyolonas.utils.stages._NOTE_SECONDS', 0.02)
    seconds = []

    def work(_):
        deadline = time.monotonic() + 10
        while len(set(seconds)) < 3 and time.monotonic() < deadline:
            state = json.loads((tmp_path / 'stages.json').read_text())['stages']['work']
            assert not state['done']
            seconds.append(state['seconds'])

    StageRunner([Stage('work', 'Working', work)], tmp_path, {}).run(None)
    assert seconds == sorted(seconds) and len(set(seconds)) >= 3


def test_full_disk_in_a_tool(tmp_path):
    """It is an error of its kind, because nothing that follows can work either."""
    script = tmp_path / 'full.py'
    script.write_text('import sys; sys.exit("cannot save: No space left on device")')
    with pytest.raises(FullDiskError, match='exit code 1.*\n.*No space left on device'):
        run_tool([str(script)], tmp_path / 'log', 'x')


@pytest.mark.skipif(not sys.platform.startswith('linux'), reason='prctl is of Linux')
@pytest.mark.long
def test_a_tool_ends_with_the_one_that_started_it(tmp_path):
    """kill -9 of the outer process alone: the inner one must not go on writing."""
    inner, outer = tmp_path / 'inner.py', tmp_path / 'outer.py'
    inner.write_text(f'''
import os, time
from pathlib import Path
from mmyolonas.utils.cli import run_main
def main():
    text = f"{{os.getpid()}} {{os.environ.get('MMYOLONAS_PARENT')}}"
    Path({str(tmp_path / "pid")!r}).write_text(text)
    time.sleep(300)
run_main(main)
''')
    outer.write_text(f'''
from pathlib import Path
from mmyolonas.utils.stages import run_tool
run_tool([{str(inner)!r}], Path({str(tmp_path / "log")!r}), 'x')
''')
    kill_when(start([outer]),
              lambda: (tmp_path / 'pid').is_file() and (tmp_path / 'pid').read_text())
    pid, parent = (tmp_path / 'pid').read_text().split()
    assert parent == 'None'  # not handed on to its own children
    wait_until(lambda: not _runs(int(pid)), 60)


def _runs(pid: int) -> bool:
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f'/proc/{pid}/stat').read_text().rsplit(')', 1)[1].split()[0] != 'Z'
    except OSError:
        return False
