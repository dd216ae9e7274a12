"""tools/misc/download_dataset.py against a small server in the same layout."""
import errno
import hashlib
import json
import os
import threading
import zipfile
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mmyolonas.utils import UserError, download
from mmyolonas.utils.download import fetch, unpack
from mmyolonas.workflows.rf100.rf100 import rf100_datasets
from tests.run_tool import run_tool

TOOL = 'tools/misc/download_dataset.py'
KEY = 'secret-key'


class Handler(BaseHTTPRequestHandler):
    """Serves files with ranges; ``server.cuts`` counts connections to be cut in the middle."""

    def do_GET(self):
        path, _, query = self.path.partition('?')
        server = self.server
        server.requests.append((path, self.headers.get('Range')))
        if path.startswith('/roboflow-100/'):
            if query != f'api_key={KEY}':
                return self.send_error(401)
            name, version, kind = path.split('/')[2:]
            assert kind == 'coco'
            body = json.dumps(dict(export=dict(
                link=f'http://127.0.0.1:{server.server_port}/{name}-{version}.zip'))).encode()
        else:
            file = server.folder / path.lstrip('/')
            if not file.is_file():
                return self.send_error(404)
            body = file.read_bytes()
        start = int(self.headers.get('Range', 'bytes=0-')[6:-1]) if server.ranges else 0
        if start and start >= len(body):
            return self.send_error(416)
        self.send_response(206 if start else 200)
        self.send_header('Content-Length', str(len(body) - start))
        self.end_headers()
        body = body[start:]
        if server.cuts and path.endswith('.zip'):
            server.cuts -= 1
            body = body[:len(body) // 2]
        self.wfile.write(body)

    def log_message(self, *_):
        pass


@pytest.fixture
def server(tmp_path):
    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.folder = tmp_path / 'served'
    server.folder.mkdir()
    server.requests, server.cuts, server.ranges = [], 0, True
    server.url = f'http://127.0.0.1:{server.server_port}'
    thread = threading.Thread(target=partial(server.serve_forever, poll_interval=0.01))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


def write_zip(path, files) -> str:
    """Write an archive; return its MD5."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return hashlib.md5(path.read_bytes()).hexdigest()


def coco_stand_in(server, tmp_path):
    """COCO's three archives in small, and their sums."""
    sums = {}
    for name, files in (
            ('annotations/annotations_trainval2017.zip',
             {f'annotations/instances_{s}2017.json': '{}' for s in ('train', 'val')}),
            ('zips/val2017.zip', {'val2017/000000000139.jpg': os.urandom(5000)}),
            ('zips/train2017.zip', {f'train2017/{i:012d}.jpg': os.urandom(4000)
                                    for i in range(5)})):
        sums[name] = write_zip(server.folder / name, files)
    path = tmp_path / 'sums.json'
    path.write_text(json.dumps(sums))
    return ['coco', '--dir', tmp_path / 'my data' / 'coco', '--url', server.url,
            '--checksums', path]


def test_coco(server, tmp_path, capsys):
    """Downloaded, checked, unpacked; the second call asks for nothing."""
    command = coco_stand_in(server, tmp_path)
    server.cuts = 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(download.time, 'sleep', lambda seconds: None)
        assert run_tool(TOOL, *command) == 0
    folder = command[2]
    assert (folder / 'annotations' / 'instances_val2017.json').is_file()
    assert len(list((folder / 'train2017').glob('*.jpg'))) == 5
    assert len(list((folder / 'val2017').glob('*.jpg'))) == 1
    first, again, *_ = server.requests
    assert first[1] is None and again[0] == first[0] and again[1].startswith('bytes=')
    server.requests.clear()
    assert run_tool(TOOL, *command) == 0
    assert not server.requests and 'unpacked before' in capsys.readouterr().out
    assert run_tool(TOOL, *command, '--only', 'nothing') == 1
    assert 'unknown archive nothing; there are' in capsys.readouterr().err


def test_wrong_checksum(server, tmp_path, capsys):
    """The file is removed, so that the next call gets it anew."""
    command = coco_stand_in(server, tmp_path)
    good = (server.folder / 'zips/val2017.zip').read_bytes()
    (server.folder / 'zips/val2017.zip').write_bytes(good[:-9] + b'damaged!!')
    assert run_tool(TOOL, *command, '--only', 'val2017') == 1
    message = capsys.readouterr().err
    assert 'its md5 is' in message and 'call again' in message
    assert not list(command[2].glob('*.zip*')) and not (command[2] / 'val2017').exists()
    (server.folder / 'zips/val2017.zip').write_bytes(good)
    assert run_tool(TOOL, *command, '--only', 'val2017', '--remove-archives') == 0
    assert (command[2] / 'val2017').is_dir() and not list(command[2].glob('*.zip'))


@pytest.mark.parametrize('ranges', [True, False])
def test_what_a_killed_call_left_is_continued(server, tmp_path, ranges):
    body = os.urandom(3 << 20)
    (server.folder / 'file.bin').write_bytes(body)
    server.ranges = ranges
    target = tmp_path / 'file.bin'
    (tmp_path / 'file.bin.part').write_bytes(body[:1 << 20])
    checksum = f'sha256:{hashlib.sha256(body).hexdigest()}'
    fetch(f'{server.url}/file.bin', target, checksum)
    assert target.read_bytes() == body and server.requests == [('/file.bin', 'bytes=1048576-')]
    target.rename(tmp_path / 'file.bin.part')  # killed after the last byte
    fetch(f'{server.url}/file.bin', target, checksum)
    assert target.read_bytes() == body


def test_local_files_stand_in(tmp_path):
    """file:// works as well: no server, no status, no ranges."""
    write_zip(tmp_path / 'a.zip', {'x/größe 1.txt': 'text'})
    fetch((tmp_path / 'a.zip').as_uri(), tmp_path / 'b.zip')
    assert unpack(tmp_path / 'b.zip', tmp_path / 'out') == 1
    assert (tmp_path / 'out' / 'x' / 'größe 1.txt').read_text() == 'text'
    with pytest.raises(UserError, match='cannot be reached'):
        fetch((tmp_path / 'none.zip').as_uri(), tmp_path / 'c.zip')


def test_connection_that_keeps_breaking(server, tmp_path, monkeypatch):
    waits = []
    monkeypatch.setattr(download.time, 'sleep', waits.append)
    (server.folder / 'big.zip').write_bytes(os.urandom(100_000))
    server.cuts = 99
    with pytest.raises(UserError, match='broke 3 times.*call again'):
        fetch(f'{server.url}/big.zip', tmp_path / 'big.zip', attempts=3)
    assert waits == [3, 6] and (tmp_path / 'big.zip.part').stat().st_size == 87_500
    server.cuts = 0
    fetch(f'{server.url}/big.zip', tmp_path / 'big.zip')
    assert (tmp_path / 'big.zip').read_bytes() == (server.folder / 'big.zip').read_bytes()


def test_full_disk(server, tmp_path, monkeypatch):
    body = os.urandom(200_000)
    (server.folder / 'big.zip').write_bytes(body)
    usage = download.shutil.disk_usage(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(download.shutil, 'disk_usage', lambda _: usage._replace(free=1000))
        with pytest.raises(UserError, match='needs 0.00 GB more.*make room'):
            fetch(f'{server.url}/big.zip', tmp_path / 'big.zip')
    with monkeypatch.context() as patch:
        def broken(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        patch.setattr(download, 'track', broken)
        with pytest.raises(UserError, match='No space left.*make room and call again'):
            fetch(f'{server.url}/big.zip', tmp_path / 'big.zip')
    fetch(f'{server.url}/big.zip', tmp_path / 'big.zip')
    write_zip(tmp_path / 'b.zip', {f'{i}.txt': 'x' * 1000 for i in range(4)})
    calls = []

    def full_at_third(path):
        calls.append(path)
        if len(calls) == 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr('mmyolonas.utils.files._sync', full_at_third)
        with pytest.raises(UserError, match='What is unpacked is kept'):
            unpack(tmp_path / 'b.zip', tmp_path / 'out')
    assert len(list((tmp_path / 'out').iterdir())) == 2  # whole files only, no note
    assert unpack(tmp_path / 'b.zip', tmp_path / 'out') == 4


def test_damaged_and_malicious_archives(tmp_path):
    (tmp_path / 'bad.zip').write_bytes(b'PK\x03\x04 half')
    with pytest.raises(UserError, match='not a complete zip file'):
        unpack(tmp_path / 'bad.zip', tmp_path / 'out')
    write_zip(tmp_path / 'evil.zip', {'../outside.txt': 'x'})
    with pytest.raises(UserError, match='outside of'):
        unpack(tmp_path / 'evil.zip', tmp_path / 'out')
    assert not (tmp_path / 'outside.txt').exists()


def rf100_stand_in(server) -> None:
    """One data set of RF100 with two images in each split."""
    dataset = rf100_datasets()['cells-uyemf']
    files = {}
    for split in ('train', 'valid', 'test'):
        files[f'{split}/a 1.jpg'] = b'image'
        files[f'{split}/_annotations.coco.json'] = json.dumps(dict(
            images=[dict(id=0, file_name='a 1.jpg', width=4, height=4)], annotations=[],
            categories=[dict(id=0, name='cells'), dict(id=1, name='cell')]))
    write_zip(server.folder / f'{dataset.name}-{dataset.version}.zip', files)


def test_rf100(server, tmp_path, capsys, monkeypatch):
    rf100_stand_in(server)
    command = ['rf100', '--dir', tmp_path / 'rf100', '--url', server.url, '--datasets']
    monkeypatch.delenv('ROBOFLOW_API_KEY', raising=False)
    assert run_tool(TOOL, *command, 'cells-uyemf') == 1
    assert 'export ROBOFLOW_API_KEY' in capsys.readouterr().err
    monkeypatch.setenv('ROBOFLOW_API_KEY', 'wrong')
    assert run_tool(TOOL, *command, 'cells-uyemf') == 1
    error = capsys.readouterr()
    assert 'the key was refused' in error.err and 'wrong' not in error.err + error.out
    monkeypatch.setenv('ROBOFLOW_API_KEY', KEY)
    # one that the server does not have does not stop the other
    assert run_tool(TOOL, *command, 'mitosis-gjs3g', 'cells-uyemf') == 1
    text = capsys.readouterr()
    assert '1 of 2 data sets' in text.out and 'failed: mitosis-gjs3g' in text.out
    assert KEY not in text.out + text.err
    folder = tmp_path / 'rf100' / 'cells-uyemf'
    assert (folder / 'train' / 'a 1.jpg').read_bytes() == b'image'
    assert 'note: (1, 1, 1) images in train, valid, test; published were (16, 4, 2)' in text.out
    # unpacked anew, the archive is compared with the noted sum
    (folder / '.cells-uyemf-1.zip.unpacked').unlink()
    (folder / 'cells-uyemf-1.zip').write_bytes(b'something else')
    assert run_tool(TOOL, *command, 'cells-uyemf') == 1
    assert 'its sha256 is' in capsys.readouterr().out
    assert run_tool(TOOL, *command, 'cells-uyemf') == 0
    # neither does one whose files are damaged
    (folder / 'train' / '_annotations.coco.json').write_text('{')
    assert run_tool(TOOL, *command, 'cells-uyemf', 'mitosis-gjs3g') == 1
    assert 'failed: cells-uyemf, mitosis-gjs3g' in capsys.readouterr().out
    assert run_tool(TOOL, *command, 'no-such-set') == 1
    assert 'has no data set no-such-set' in capsys.readouterr().err


def test_objects365(tmp_path, capsys):
    assert run_tool(TOOL, 'objects365') == 0
    assert 'https://www.objects365.org' in capsys.readouterr().out
    folder = tmp_path / 'objects365'
    (folder / 'annotations').mkdir(parents=True)
    (folder / 'val' / 'patch3').mkdir(parents=True)
    (folder / 'val' / 'patch3' / 'a.jpg').write_bytes(b'image')
    images = [dict(id=i, file_name=f'images/v1/patch3/{n}.jpg', width=4, height=4)
              for i, n in enumerate('ab')]
    (folder / 'annotations' / 'zhiyuan_objv2_val.json').write_text(
        json.dumps(dict(images=images, annotations=[], categories=[])))
    assert run_tool(TOOL, 'objects365', '--dir', folder, '--check') == 1
    text = capsys.readouterr().out
    assert 'val: 2 images, 1 of them missing, the first: patch3/b.jpg' in text
    assert 'train: ' in text and 'zhiyuan_objv2_train.json is missing' in text


def serve_once(server, monkeypatch, **answer):
    """Let the server answer every request in a given, wrong way."""
    def get(handler):
        server.requests.append((handler.path, handler.headers.get('Range')))
        handler.send_response(answer.get('status', 200))
        for name, value in answer.get('headers', {}).items():
            handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(answer.get('body', b''))
    monkeypatch.setattr(Handler, 'do_GET', get)
    monkeypatch.setattr(download.time, 'sleep', lambda seconds: None)


@pytest.mark.parametrize('length', ['many', '-5', '1e3', '', '9' * 30])
def test_wrong_length(server, tmp_path, monkeypatch, length):
    serve_once(server, monkeypatch, headers={'Content-Length': length}, body=b'abc')
    assert fetch(f'{server.url}/a', tmp_path / 'a').read_bytes() == b'abc'


def test_part_of_another_place(server, tmp_path, monkeypatch):
    """The server answers with other bytes than asked for: never put together."""
    (tmp_path / 'a.part').write_bytes(b'0123')
    serve_once(server, monkeypatch, status=206, body=b'xyz',
               headers={'Content-Range': 'bytes 7-9/10', 'Content-Length': '3'})
    with pytest.raises(UserError, match='sent the file from byte 7, not from 4'):
        fetch(f'{server.url}/a', tmp_path / 'a')
    assert not (tmp_path / 'a').exists() and (tmp_path / 'a.part').read_bytes() == b'0123'


def test_longer_rest_of_another_file(server, tmp_path, monkeypatch):
    (tmp_path / 'a.part').write_bytes(b'0123456789')
    original = Handler.do_GET

    def get(handler):
        if handler.headers.get('Range'):
            handler.send_response(416)
            handler.send_header('Content-Range', 'bytes */4')
            handler.end_headers()
        else:
            original(handler)
    monkeypatch.setattr(Handler, 'do_GET', get)
    monkeypatch.setattr(download.time, 'sleep', lambda seconds: None)
    (server.folder / 'a').write_bytes(b'good')
    assert fetch(f'{server.url}/a', tmp_path / 'a').read_bytes() == b'good'


@pytest.mark.parametrize('url', ['nothing', 'ftp://a/b', 'http://', 'http://[x/a', 'data:,a',
                                 'http://a b/c', 'http://a:port/'])
def test_wrong_addresses(tmp_path, monkeypatch, url):
    monkeypatch.setattr(download.time, 'sleep', lambda seconds: None)
    with pytest.raises(UserError, match='no address of a file|cannot be reached'):
        fetch(url, tmp_path / 'a')


@pytest.mark.parametrize('body,expected', [
    (b'<!DOCTYPE html><title>Log in</title>', 'a web page or a message of the server'),
    (b'{"error": "quota"}', 'a web page or a message'), (b'', 'is empty'), (b'PK\3\4', 'complete')])
def test_a_page_in_place_of_an_archive(tmp_path, body, expected):
    (tmp_path / 'a.zip').write_bytes(body)
    with pytest.raises(UserError, match=expected):
        unpack(tmp_path / 'a.zip', tmp_path / 'out')
    assert not (tmp_path / 'out').exists()


@pytest.mark.parametrize('text', ['', '[1]', '{"a": 1}', '{"train2017.zip": '])
def test_damaged_lists_of_checksums(tmp_path, capsys, text):
    (tmp_path / 'sums.json').write_text(text)
    assert run_tool(TOOL, 'coco', '--dir', tmp_path, '--checksums', tmp_path / 'sums.json') == 1
    assert 'sums.json' in capsys.readouterr().err


@pytest.mark.parametrize('link', ['file:///etc/passwd', 7, None, ['x'], {}])
def test_wrong_download_link(server, tmp_path, monkeypatch, capsys, link):
    monkeypatch.setenv('ROBOFLOW_API_KEY', KEY)
    serve_once(server, monkeypatch, body=json.dumps(dict(export=dict(link=link))).encode())
    name = next(iter(rf100_datasets()))
    assert run_tool(TOOL, 'rf100', '--dir', tmp_path, '--url', server.url, '--datasets', name) == 1
    assert 'gave no download link' in capsys.readouterr().out


class TestArchives:

    def message(self, tmp_path):
        with pytest.raises(UserError) as caught:
            unpack(tmp_path / 'a.zip', tmp_path / 'out')
        assert '\n' not in str(caught.value)
        return str(caught.value)

    def test_encrypted(self, tmp_path):
        write_zip(tmp_path / 'a.zip', {'a.txt': 'text'})
        data = bytearray((tmp_path / 'a.zip').read_bytes())
        data[6] |= 1
        data[data.rindex(b'PK\1\2') + 8] |= 1
        (tmp_path / 'a.zip').write_bytes(bytes(data))
        assert 'is encrypted' in self.message(tmp_path) and not (tmp_path / 'out').exists()

    @pytest.mark.filterwarnings('ignore:Duplicate name')
    @pytest.mark.parametrize('names', [('a.txt', 'a.txt'), ('a.txt', 'A.txt'), ('x/b', 'x\\b')])
    def test_conflicting_members(self, tmp_path, names):
        with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
            for name in names:
                archive.writestr(name, f'content of {name} {len(archive.infolist())}')
        assert 'have one place but differ' in self.message(tmp_path)
        assert not (tmp_path / 'out').exists()

    @pytest.mark.filterwarnings('ignore:Duplicate name')
    def test_equal_members(self, tmp_path):
        with zipfile.ZipFile(tmp_path / 'a.zip', 'w') as archive:
            archive.writestr('a.txt', 'same')
            archive.writestr('a.txt', 'same')
        assert unpack(tmp_path / 'a.zip', tmp_path / 'out') == 1

    @pytest.mark.parametrize('names', [('a', 'a/b'), ('a/b', 'a')])
    def test_file_in_place_of_a_folder(self, tmp_path, names):
        write_zip(tmp_path / 'a.zip', dict.fromkeys(names, 'x'))
        assert 'the name of its folder' in self.message(tmp_path)

    def test_something_in_the_way(self, tmp_path):
        write_zip(tmp_path / 'a.zip', {'a/b': 'x'})
        (tmp_path / 'out').mkdir()
        (tmp_path / 'out' / 'a').write_text('mine')
        assert 'is in its way' in self.message(tmp_path)
        assert (tmp_path / 'out' / 'a').read_text() == 'mine'

    def test_another_file_of_the_same_size(self, tmp_path):
        """It is not taken for one that was unpacked before."""
        write_zip(tmp_path / 'a.zip', {'a.txt': 'good'})
        (tmp_path / 'out').mkdir()
        (tmp_path / 'out' / 'a.txt').write_text('evil')
        assert unpack(tmp_path / 'a.zip', tmp_path / 'out') == 1
        assert (tmp_path / 'out' / 'a.txt').read_text() == 'good'

    def test_windows_separators(self, tmp_path):
        write_zip(tmp_path / 'a.zip', {'images\\a.txt': 'x'})
        unpack(tmp_path / 'a.zip', tmp_path / 'out')
        assert (tmp_path / 'out' / 'images' / 'a.txt').read_text() == 'x'
        write_zip(tmp_path / 'a.zip', {'..\\..\\a.txt': 'x'})
        assert 'outside of' in self.message(tmp_path)

    def test_larger_than_the_disk(self, tmp_path, monkeypatch):
        write_zip(tmp_path / 'a.zip', {'a.txt': 'x' * 1000})
        usage = download.shutil.disk_usage(tmp_path)
        monkeypatch.setattr(download.shutil, 'disk_usage', lambda _: usage._replace(free=999))
        assert 'make room' in self.message(tmp_path) and not (tmp_path / 'out').exists()

    def test_damage_at_any_place(self, tmp_path):
        """Cut, or with a byte changed: whole files or one sentence."""
        files = {f'{index}.txt': os.urandom(40) for index in range(4)}
        write_zip(tmp_path / 'good.zip', files)
        good = (tmp_path / 'good.zip').read_bytes()
        cases = [good[:place] for place in range(0, len(good), 37)]
        for place in range(0, len(good), 11):
            cases.append(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1:])
        for number, data in enumerate(cases):
            (tmp_path / 'a.zip').write_bytes(data)
            out = tmp_path / f'out{number}'
            try:
                unpack(tmp_path / 'a.zip', out)
            except UserError as error:
                assert '\n' not in str(error)
            for path in out.rglob('*.txt') if out.exists() else ():
                assert files.get(path.name, path.read_bytes()) == path.read_bytes()
