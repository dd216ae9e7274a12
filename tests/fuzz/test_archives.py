"""Archives and answers of servers: damaged, of any names, and never outside of the folder."""
import io
import warnings
import zipfile
from email.message import Message
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmyolonas.utils import download
from mmyolonas.utils.download import fetch, unpack
from tests.fuzz.judge import SilentDrop, judge
from tests.fuzz.mutate import changed_bytes
from tests.fuzz.test_names import NAMES

MEMBERS = st.lists(st.tuples(
    st.one_of(NAMES, st.sampled_from(['a', 'a/b', 'a/b/c', 'A', '../x', '/etc/x', 'a\\b', '..', '.',
                                      'C:\\x', 'a/../../x', 'x' * 300, 'a/', 'con', './a'])),
    st.binary(max_size=30), st.sampled_from([0, zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA]),
    st.sampled_from([0, 0o120777 << 16, 0o040755 << 16, 0o100000 << 16])), max_size=5)


def archive_of(members) -> bytes:
    """Return a zip file with members of any names, kinds and contents."""
    stream = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(stream, 'w') as archive:
        warnings.simplefilter('ignore')  # of names that occur twice
        for name, content, method, mode in members:
            info = zipfile.ZipInfo(name.encode('utf-8', 'replace').decode())
            info.compress_type, info.external_attr = method, mode
            archive.writestr(info, content)
    return stream.getvalue()


SOUND = archive_of([('data/train/a.txt', b'1' * 400, 8, 0), ('data/b.txt', b'2' * 90, 0, 0),
                    ('data/c.txt', b'3' * 90, 14, 0), ('data/', b'', 0, 0)])


@pytest.fixture
def place(tmp_path):
    (tmp_path / 'in').mkdir()
    return tmp_path


def open_archive(place, data, name='a.zip'):
    """Unpack; nothing may appear anywhere else, and what is said to be there is there."""
    import shutil
    folder = place / 'in' / 'out'
    shutil.rmtree(folder, ignore_errors=True)
    (place / 'in' / name).write_bytes(data)
    try:
        count = unpack(place / 'in' / name, folder)
    finally:
        assert sorted(path.name for path in place.iterdir()) == ['in']
        assert {path.name for path in (place / 'in').iterdir()} <= {name, 'out'}
        assert not any(path.is_symlink() for path in folder.rglob('*'))
    files = [path for path in folder.rglob('*') if path.is_file()]
    if len(files) != count + 1:  # and the note
        raise SilentDrop(f'{count} files said, {len(files) - 1} there')
    return count


@given(changed_bytes(SOUND))
def test_bytes(place, data):
    judge('archives', lambda: open_archive(place, data))


@given(MEMBERS)
def test_members(place, members):
    judge('archives', lambda: open_archive(place, archive_of(members)))


class Answer(io.BytesIO):
    """What a server says: any status, headers and content."""

    def __init__(self, status, headers, content):
        super().__init__(content)
        self.status, self.headers = status, Message()
        for key, value in headers.items():
            self.headers[key] = value


NUMBERS = st.one_of(st.integers(-2, 400).map(str), st.sampled_from(
    ['', 'x', '1e3', '9' * 30, '²', 'bytes 5-9/10', 'bytes x-', 'bytes */7', 'bytes 0-99/100']))


@given(st.binary(max_size=300), st.sampled_from([200, 200, 206, 204, 304]), NUMBERS, NUMBERS,
       st.binary(max_size=20))
def test_answers(place, content, status, length, piece, there):
    """The file is whole by what the server said, or it is not there under its name."""
    path, part = place / 'in' / 'a.bin', place / 'in' / 'a.bin.part'
    path.unlink(missing_ok=True)
    part.write_bytes(there)
    headers = {'Content-Length': length, 'Content-Range': piece}

    def get():
        fetch('http://localhost/a.bin', path, attempts=1, wait=0)
        return path.read_bytes()

    with mock.patch.object(download, 'urlopen', lambda *a, **k: Answer(status, headers, content)):
        found = judge('answers', get)
    if isinstance(found, bytes):
        assert found in (content, there + content)
    else:
        assert not path.exists()
