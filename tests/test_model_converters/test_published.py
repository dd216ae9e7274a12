"""The original's weights by name: refused without licence or mirror, fetched, checked, named."""
import dataclasses

import pytest
import torch
from mmengine.config import Config

from mmyolonas.model_converters import published, to_supergradients
from mmyolonas.utils.building import build_model
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import file_digest
from tests import tiny
from tests.run_tool import run_tool

REQUEST = 'sg:yolo_nas_s_coco'


@pytest.fixture
def mirror(tmp_path, monkeypatch):
    """A folder with a narrow model under a published name, whose sum is expected."""
    torch.manual_seed(0)
    state = build_model(Config(dict(model=tiny.model_config()))).state_dict()
    folder = tmp_path / 'mirror'
    folder.mkdir()
    file = folder / 'yolo_nas_s_coco.pth'
    torch.save(to_supergradients(dict(state_dict=state))[0], file)
    entry = dataclasses.replace(published.PUBLISHED['yolo_nas_s_coco'], sha256=file_digest(file))
    monkeypatch.setitem(published.PUBLISHED, 'yolo_nas_s_coco', entry)
    return folder


def test_fetched_checked_and_converted(mirror, tmp_path):
    """From a named place into a checkpoint of ours; a second call needs no mirror."""
    path = published.fetch_published(REQUEST, mirror.as_uri(), True, tmp_path / 'here')
    state = torch.load(path, weights_only=True)['state_dict']
    assert 'bbox_head.levels.0.cls_pred.weight' in state
    (mirror / 'yolo_nas_s_coco.pth').unlink()
    again = published.fetch_published(REQUEST, mirror.as_uri(), True, tmp_path / 'here')
    assert again == path


def test_what_is_missing_is_said(mirror, tmp_path):
    ask = [REQUEST, mirror.as_uri(), True, tmp_path / 'here']
    with pytest.raises(UserError, match='no commercial use.*--accept-licence'):
        published.fetch_published(ask[0], ask[1], False, ask[3])
    with pytest.raises(UserError, match='server is gone; name the place of a copy with --mirror'):
        published.fetch_published(ask[0], None, True, ask[3])
    with pytest.raises(UserError, match='there are no such weights.*sg:yolo_nas_m_coco'):
        published.fetch_published('sg:yolo_nas_x', ask[1], True, ask[3])
    with pytest.raises(UserError, match='this place is dead.*name another one with --mirror'):
        published.fetch_published(REQUEST, (tmp_path / 'gone').as_uri(), True, ask[3])
    with open(mirror / 'yolo_nas_s_coco.pth', 'ab') as file:
        file.write(b'x')
    with pytest.raises(UserError, match='replaced by its owner.*holds another file'):
        published.fetch_published(*ask)
    assert not list((tmp_path / 'here').glob('*_mmyolonas.pth'))


def test_table_is_that_of_the_page():
    """Names, sums and sizes are in the model zoo, and are sound."""
    from tests.conftest import ROOT
    text = (ROOT / 'docs' / 'en' / 'model_zoo.md').read_text()
    assert len({entry.sha256 for entry in published.PUBLISHED.values()}) == 7
    for name, entry in published.PUBLISHED.items():
        assert len(entry.sha256) == 64 and int(entry.sha256, 16)
        assert f'| `{name}.pth` |' in text
        assert f'| {entry.megabytes} | `{entry.sha256}` |' in text


def test_sg2mm_names_a_file(mirror, tmp_path, capsys):
    assert run_tool('tools/model_converters/sg2mm.py', mirror / 'yolo_nas_s_coco.pth') == 0
    text = capsys.readouterr().out
    assert 'with 2 classes of SuperGradients' in text
    assert 'it is yolo_nas_s_coco.pth as published (YOLO-NAS S, COCO)' in text
    assert list(mirror.iterdir()) == [mirror / 'yolo_nas_s_coco.pth']


def test_finetune_asks_for_the_licence(tmp_path, capsys):
    assert run_tool('tools/finetune.py', tmp_path, '--pretrained', REQUEST) == 1
    assert '--accept-licence' in capsys.readouterr().err
