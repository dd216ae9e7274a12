"""The tools' outer frame, checked arguments and looks at outputs before the work."""
import argparse
import os

import pytest

from mmyolonas.utils import UserError, arguments
from mmyolonas.utils.cli import add_cfg_options, run_main
from mmyolonas.utils.data_error import DataError
from mmyolonas.utils.outputs import check_distinct, check_file, check_folder


def end(error, capsys):
    """Return exit code and message of a tool that raises."""

    def main():
        raise error

    with pytest.raises(SystemExit) as caught:
        run_main(main)
    text = capsys.readouterr().err
    assert len(text.splitlines()) == 1 and 'Traceback' not in text
    return caught.value.code, text


@pytest.mark.parametrize('error, code, words', [
    (UserError('give a file.'), 1, 'error: give a file.'),
    (DataError('no boxes.'), 1, 'no boxes.'),
    (OSError(28, 'No space left on device'), 1, 'Make room'),
    (OSError(27, 'File too large', 'a.png'), 1, 'cannot write a.png'),
    (PermissionError(13, 'Permission denied', 'a.png'), 1, 'a.png: Permission denied'),
    (MemoryError(), 1, 'not enough memory'),
    (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: you\ntried"), 1,
     'not enough memory'),
    (KeyboardInterrupt(), 130, 'interrupted'),
    (KeyError('a'), 3, 'unexpected KeyError'),
    (ValueError('several\nlines'), 3, 'several lines'),
    (AssertionError(), 3, 'unexpected AssertionError. The details'),
])
def test_every_end_is_a_sentence(error, code, words, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found, text = end(error, capsys)
    assert found == code and words in text
    log = tmp_path / 'mmyolonas_errors.log'
    assert log.exists() == (code == 3)
    if code == 3:
        assert str(log) in text and 'Traceback' in log.read_text()
        assert type(error).__name__ in log.read_text()


def test_the_log_lies_where_it_can(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv('MMYOLONAS_LOG_DIR', str(tmp_path / 'nowhere'))
    monkeypatch.setattr('tempfile.gettempdir', lambda: str(tmp_path))
    assert str(tmp_path / 'mmyolonas_errors.log') in end(KeyError('a'), capsys)[1]


@pytest.mark.parametrize('kind, good, bad', [
    (arguments.positive_int, ['1', '99'], ['0', '-5', 'nan', '1.5', '', 'x', '9' * 5000]),
    (arguments.natural, ['0'], ['-1', 'inf']),
    (arguments.seed, ['0', str(2**32 - 1)], ['-1', str(2**32)]),
    (arguments.share, ['0', '1', '0.5', '1e-3'], ['nan', 'inf', '-0.1', '1.1', 'x', '']),
    (arguments.positive, ['1e-5', '3'], ['0', '-1', 'nan', 'inf']),
    (arguments.not_negative, ['0'], ['-1', 'nan', 'inf']),
    (arguments.device, ['cpu'], ['', 'gpu', 'cuda:99', 'cpu:x', 'tpu', 'cuda:-1', 'hip', 'meta']),
])
def test_arguments(kind, good, bad):
    for text in good:
        assert str(kind(text)) and kind(text) is not None
    for text in bad:
        with pytest.raises(argparse.ArgumentTypeError):
            kind(text)


def test_outputs_that_cannot_be(tmp_path):
    file = tmp_path / 'file'
    file.touch()
    for path in (file, file / 'below', '/proc/x', tmp_path / ('a' * 300), tmp_path / 'a' / '\0'):
        with pytest.raises(UserError, match='--work-dir.*cannot be written'):
            check_folder(path)
    for path in (tmp_path, file / 'x.json', '/proc/x.json', '', tmp_path / ('a' * 254)):
        with pytest.raises(UserError, match='--out.*cannot be written'):
            check_file(path)
    with pytest.raises(UserError, match='must end in .json'):
        check_file(tmp_path / 'a.txt', suffixes=('.json', ))
    assert os.listdir(tmp_path) == ['file']
    check_file(tmp_path / 'new' / 'a.json', suffixes=('.json', ))
    check_folder(tmp_path / 'new' / 'newer')
    assert os.listdir(tmp_path) == ['file']


def test_two_outputs_in_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    check_distinct({'--out': 'a', '--json': 'b', '--log': None}, {'SRC': 'c', 'IMG': 'c'})
    for outputs, inputs in (({'--out': 'a', '--json': './a'}, {}),
                            ({'--out': 'a'}, {'SRC': tmp_path / 'a'})):
        with pytest.raises(UserError, match='same file'):
            check_distinct(outputs, inputs)


@pytest.mark.parametrize('key', ['{{$HOME}}', 'a b', 'a..b', '.a', 'a.', "a'b"])
def test_keys_that_no_config_has(key, capsys):
    """mmengine would write them into a file that Python cannot read."""
    parser = argparse.ArgumentParser()
    add_cfg_options(parser)
    with pytest.raises(SystemExit):
        parser.parse_args(['--cfg-options', f'{key}=1'])
    assert 'takes KEY=VALUE' in (text := capsys.readouterr().err) or 'is no key' in text
