"""Every writer: killed or without room it leaves what was there, and says what happened."""
import errno
import os

import cv2
import numpy as np
import pytest
import torch

from mmyolonas.inference.writers import JsonLinesWriter, VideoWriter
from mmyolonas.utils import UserError
from mmyolonas.utils.figures import write_figure
from mmyolonas.utils.files import (
    atomic_path,
    check_room,
    read_json,
    write_bytes,
    write_checkpoint,
    write_image,
    write_json,
    write_onnx,
    write_text,
)
from mmyolonas.utils.journal import Journal
from tests.crash import KILLED, hidden, in_child

NOISE = np.random.default_rng(0).integers(0, 255, (256, 256, 3), dtype=np.uint8)


def _figure(path):
    from matplotlib.figure import Figure
    figure = Figure()
    figure.subplots().plot([1, 2])
    write_figure(path, figure)


def _onnx(path):
    import onnx
    weights = onnx.numpy_helper.from_array(np.zeros(9000, np.float32), 'w')
    graph = onnx.helper.make_graph([], 'g', [], [], [weights])
    write_onnx(path, onnx.helper.make_model(graph))


def _lines(path):
    with JsonLinesWriter(path) as file:
        for _ in range(200):
            file.write(dict(text='x' * 100))


def _video(path):
    with VideoWriter(path, 25) as video:
        for _ in range(30):
            video.write(NOISE)


WRITERS = {
    'bytes.bin': lambda path: write_bytes(path, bytes(50000)),
    'text.txt': lambda path: write_text(path, 'x' * 50000),
    'state.json': lambda path: write_json(path, ['x'] * 5000),
    'picture.png': lambda path: write_image(path, NOISE),
    'picture.jpg': lambda path: write_image(path, NOISE),
    'figure.png': _figure,
    'model.pth': lambda path: write_checkpoint(path, dict(a=torch.zeros(9000))),
    'model.onnx': _onnx,
    'lines.jsonl': _lines,
    'video.mp4': _video,
    'video.avi': _video,
    'video.mkv': _video,
}


@pytest.mark.parametrize('name', WRITERS)
def test_full_disk(name, tmp_path):
    path = tmp_path / name
    for before in (None, b'before'):
        if before is not None:
            path.write_bytes(before)
        kind, found = in_child(lambda: WRITERS[name](path), disk=4096)
        assert kind == 'raised' and found[1] == errno.EFBIG, (kind, found)
        assert (path.read_bytes() if path.exists() else None) == before
        assert not hidden(tmp_path)


@pytest.mark.parametrize('name', WRITERS)
def test_killed(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(b'before')
    assert in_child(lambda: WRITERS[name](path), kill_at=1) == (KILLED, None)
    assert path.read_bytes() == b'before'
    left = hidden(tmp_path)
    assert len(left) == 1 and left[0].startswith(f'.{path.stem}.') and 'part' in left[0]
    os.utime(tmp_path / left[0], (0, 0))  # some time ago
    WRITERS[name](path)
    assert path.read_bytes() != b'before' and not hidden(tmp_path)


def test_what_another_process_is_writing_stays(tmp_path):
    path = tmp_path / 'a.txt'
    (tmp_path / '.a.0000.part.txt').write_text('of another version, just begun')
    with atomic_path(path) as temporary:
        temporary.write_text('slowly')
        os.utime(temporary, (0, 0))
        assert in_child(lambda: write_text(path, 'quickly')) == ('returned', None)
        assert temporary.read_text() == 'slowly'
    assert path.read_text() == 'slowly' and hidden(tmp_path) == ['.a.0000.part.txt']


def test_pictures_that_cannot_be_written(tmp_path):
    for name in ('a.xyz', 'a', 'a.jsonl'):
        with pytest.raises(UserError, match='format'):
            write_image(tmp_path / name, NOISE)
    with pytest.raises(UserError, match='format'):
        write_image(tmp_path / 'a.jpg', np.zeros((70000, 1, 3), np.uint8))
    with pytest.raises(UserError, match='cannot write'):
        write_image(tmp_path, NOISE)
    assert not list(tmp_path.iterdir())
    write_image(tmp_path / 'a.png', NOISE)
    assert (cv2.imread(str(tmp_path / 'a.png')) == NOISE).all()


def test_room(tmp_path):
    check_room(tmp_path)
    assert in_child(lambda: check_room(tmp_path), disk=4096)[1][1] == errno.EFBIG
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize('content', [
    b'', b'{', b'[1]', b'\xff\xfe{', b'null', b'[' * 100000, b'{"a": NaN', b'{"a": "x"}', b'{}'])
def test_json_that_is_something_else(content, tmp_path):
    path = tmp_path / 'plan.json'
    path.write_bytes(content)
    with pytest.raises(UserError, match='is not a plan.*Make one') as caught:
        read_json(path, 'a plan', check=lambda value: value['a'] + 1, advice='Make one.')
    assert '\n' not in str(caught.value)


def test_json_with_a_byte_order_mark(tmp_path):
    (tmp_path / 'a.json').write_bytes(b'\xef\xbb\xbf{"a": 1}')
    assert read_json(tmp_path / 'a.json', 'a table') == dict(a=1)
    with pytest.raises(UserError, match='does not exist'):
        read_json(tmp_path / 'b.json', 'a table')


def test_a_journal_keeps_every_readable_line(tmp_path):
    path = tmp_path / 'a.jsonl'
    with Journal(path, dict(a=1)) as journal:
        for number in range(5):
            journal.write(dict(n=number))
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = b'{"n": 1, broken\n'
    path.write_bytes(b''.join(lines) + b'{"n": 5')
    with Journal(path, dict(a=1)) as journal:
        journal.write(dict(n=6))
        assert [record['n'] for record in journal] == [0, 2, 3, 4, 6]
    with Journal(path, dict(a=2)) as journal:
        assert journal.discarded and list(journal) == []
        assert b'"n": 6' in (tmp_path / 'a.jsonl.old').read_bytes()
        journal.remove()
    assert not list(tmp_path.iterdir())


def test_a_journal_has_one_writer(tmp_path):
    path = tmp_path / 'a.jsonl'
    with Journal(path, dict(a=1)) as journal:
        journal.write(dict(n=0))
        kind, found = in_child(lambda: _other_writer(path))
        assert kind == 'raised' and 'another process is writing' in found[2]
        journal.write(dict(n=1))
        assert [record['n'] for record in journal] == [0, 1]
    assert in_child(lambda: _other_writer(path)) == ('returned', [0, 1, 2])


def _other_writer(path):
    from mmyolonas.utils import locks
    locks._held.clear()  # what the parent holds is not this process's
    with Journal(path, dict(a=1)) as journal:
        journal.write(dict(n=2))
        return [record['n'] for record in journal]


def test_a_journal_on_a_full_disk(tmp_path):
    path = tmp_path / 'a.jsonl'

    def fill():
        with Journal(path, dict(a=1)) as journal:
            for number in range(1000):
                journal.write(dict(n=number))

    kind, found = in_child(fill, disk=1000)
    assert kind == 'raised' and found[0] == 'FullDiskError' and 'start the same' in found[2]
    with Journal(path, dict(a=1)) as journal:
        numbers = [record['n'] for record in journal]
        assert len(numbers) > 50 and numbers == list(range(len(numbers)))
