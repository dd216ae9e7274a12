"""What data is called never becomes part of a config's code."""
import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.config import Config

from mmyolonas.utils import UserError
from mmyolonas.utils.inert import comment, literal, parse_config_text, write_config_values
from tests import tiny
from tests.layout_files import write_model
from tests.run_tool import run_tool

#: Breaks out of the quotes when mmengine substitutes it, and leaves a file.
PAYLOAD = ('{{{{$X:(\\\',);__import__("os").system("touch${{IFS}}{0}");'
           '#|[{{][{{][$]X.*}}}}"')
NAMES = ['{{$HOME:x}}', '{{ fileBasename }}', '{{fileDirname}}', '{{ _base_.pad_val }}',
         "{{'$HOME:x'}}", '{{{{$HOME:x}}}}', 'a\nb = 1', "'", '"', '\\', "\\'", '\\{{$HOME:x}}',
         '#', '\u2028', '\x00', '\udcff', '$x$', PAYLOAD.format('p')]
#: Pieces that patterns, quotes and escapes are made of.
NAME = st.one_of(
    st.text(max_size=30),
    st.lists(st.sampled_from(['{', '{{', '}}', '$HOME:', '$X:', 'fileBasename', ' ', "'", '"',
                              '\\', '\n', '_base_.a', '(', ')', ';', '|', 'é', '\udc80']),
             max_size=12).map(''.join))
VALUE = st.recursive(
    NAME | st.integers() | st.none() | st.booleans()
    | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.tuples(inner)
    | st.dictionaries(NAME.filter(lambda key: key not in ('_delete_', '_scope_')), inner,
                      max_size=3), max_leaves=6)


@pytest.mark.parametrize('name', NAMES)
def test_a_literal_is_read_as_what_it_was(name, tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(f'names = {literal([name])}\n', encoding='utf-8')
    assert Config.fromfile(path).names == [name]


@pytest.mark.parametrize('name', NAMES)
def test_values_beside_a_config_are_read_as_what_they_were(name, tmp_path):
    write_config_values(tmp_path / 'values.json', dict(named=dict(names=[name])))
    (tmp_path / 'config.py').write_text("_base_ = 'values.json'\nnames = _base_.named['names']\n")
    assert Config.fromfile(tmp_path / 'config.py').names == [name]


@settings(max_examples=60, deadline=None)
@given(VALUE)
def test_a_dumped_config_is_read_as_what_it_was(tmp_path_factory, value):
    """The runner dumps its config into the work folder, checkpoints hold its text."""
    path = tmp_path_factory.mktemp('dumped') / 'config.py'
    cfg = Config(dict(item=value, ordinary=dict(type='X', names=('a', 'b'))))
    try:
        text = cfg.pretty_text
        path.write_text(text, encoding='utf-8')
    except UnicodeEncodeError:
        return  # half a character: mmengine could not write it either, and nothing is written
    assert Config.fromfile(path).to_dict() == cfg.to_dict()
    assert parse_config_text(text, 'a text') == cfg.to_dict()


@settings(max_examples=60, deadline=None)
@given(NAME)
def test_a_comment_stays_one(text):
    line = comment(text)
    assert '{{' not in line and len(f'# {line}'.splitlines()) == 1


@pytest.mark.parametrize('text', [
    'import os', 'a = __import__("os")', 'a = open("x")', 'a = [i for i in ()]', 'a.b = 1',
    'a = b', 'a = dict(**b)', 'a = {**{}}', 'a = (lambda: 0)()', 'a = f"{1}"', 'a = -dict()',
    'a = dict(1, 2)', '[' * 10000, 'a = 1\nprint(a)', 'a = {[]: 1}', 'a = (b := 1)', '\x00'])
def test_text_that_does_anything_is_refused(text):
    with pytest.raises(UserError, match='not plain data'):
        parse_config_text(text, 'm.pth')


def test_text_that_mmengine_writes_is_data():
    cfg = Config(dict(a=dict(b=(1, -2.5), c=[None, True], d=float('inf')), e={'x-y': dict(z=1)}))
    assert parse_config_text(cfg.pretty_text, 'm.pth') == cfg.to_dict()


def test_resume_does_not_run_a_checkpoints_text(tmp_path, capsys):
    """A checkpoint of plain data, read without unpickling, held code in meta['config']."""
    data = tiny.write_data(tmp_path / 'data')
    cfg = tiny.config(data, tmp_path / 'work')
    cfg['val_dataloader'] = cfg['val_cfg'] = cfg['val_evaluator'] = None
    config = tiny.write_config(tmp_path / 'config.py', cfg)
    assert run_tool('tools/train.py', config, '--cfg-options', 'train_cfg.max_epochs=1') == 0
    checkpoint = torch.load(tmp_path / 'work' / 'epoch_1.pth')
    proof = tmp_path / 'executed'
    checkpoint['meta']['config'] = f'import os\nos.mkdir({str(proof)!r})\n'
    torch.save(checkpoint, tmp_path / 'from_a_stranger.pth')
    assert run_tool('tools/train.py', config, '--resume', tmp_path / 'from_a_stranger.pth') == 0
    assert (tmp_path / 'work' / 'epoch_2.pth').is_file()
    assert not proof.exists()


def test_an_inferencer_does_not_run_a_checkpoints_text(tmp_path):
    from mmdet.apis import DetInferencer
    proof = tmp_path / 'executed'
    torch.save(dict(meta=dict(cfg=f'import os\nos.mkdir({str(proof)!r})\nmodel = dict()'),
                    state_dict={}), tmp_path / 'from_a_stranger.pth')
    with pytest.raises(UserError, match='never run'):
        DetInferencer(weights=str(tmp_path / 'from_a_stranger.pth'))
    assert not proof.exists()


@pytest.mark.long
def test_a_class_name_does_not_run(tmp_path, monkeypatch, capsys):
    """tools/finetune.py from a COCO file to a trained model; the folder's name is odd as well."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr('mmyolonas.workflows.finetune.finetune_settings._MIN_STEPS', 2)
    data = tiny.write_data(tmp_path / "data {{$HOME:x}}\n'#")
    file = data / 'annotations.json'
    content = json.loads(file.read_text())
    names = [PAYLOAD.format('executed'), '{{$HOME:x}}']
    for category, name in zip(content['categories'], names):
        category['name'] = name
    file.write_text(json.dumps(content))
    work = tmp_path / "work\nimport os; os.mkdir('executed') #"
    code = run_tool('tools/finetune.py', data, '--work-dir', work, '--epochs', '1', '--imgsz', '64',
                    '--model', write_model(tmp_path / 'narrow.py'))
    assert not (tmp_path / 'executed').exists()
    assert code == 0, capsys.readouterr().err
    for path in (work / 'config.py', *(work / 'train').rglob('config.py')):
        assert list(Config.fromfile(path).classes) == names, path
    assert not (tmp_path / 'executed').exists()
