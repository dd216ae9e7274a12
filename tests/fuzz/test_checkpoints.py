"""Checkpoints: damaged, foreign, of other structure, with code in them."""
import io
import zipfile

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from mmyolonas.utils.building import load_model
from mmyolonas.utils.checkpoint_match import check_match, match_state, state_of
from mmyolonas.utils.checkpoints import last_checkpoint, read_checkpoint
from tests.bad_checkpoints import Payload, safetensors, saved
from tests.fuzz.judge import judge, judge_tool
from tests.fuzz.mutate import ODD, changed_bytes
from tests.tiny import model_config

CFG = dict(default_scope='mmdet', model=model_config())


def model():
    from mmengine.config import Config

    from mmyolonas.utils.building import build_model
    return build_model(Config(CFG))


STATE = model().state_dict()
GOOD = dict(meta=dict(epoch=1, iter=2, dataset_meta=dict(classes=('a', 'b'))), state_dict=STATE,
            optimizer=dict(state={}, param_groups=[]), message_hub={})
SMALL = dict(GOOD, state_dict=dict(list(STATE.items())[:12]))
FILES = [saved(SMALL), saved(SMALL, _use_new_zipfile_serialization=False),
         safetensors(SMALL['state_dict']), saved(dict(net=SMALL['state_dict']))]
EXAMPLE = FILES[0]
TENSORS = st.one_of(
    ODD, st.builds(lambda sides, kind: torch.zeros(sides, dtype=kind),
                   st.lists(st.integers(0, 9), max_size=4),
                   st.sampled_from([torch.float32, torch.float16, torch.bfloat16, torch.int8,
                                    torch.bool, torch.complex64, torch.float64,
                                    torch.float8_e4m3fn])),
    st.builds(lambda value: torch.tensor([value, 1.]), st.floats()),
    st.just(torch.zeros(1).expand(1 << 40)), st.just(torch.eye(3).to_sparse()))


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    return tmp_path_factory.mktemp('checkpoints')


def load(path):
    """Read a checkpoint and compare it with the model, as every tool does."""
    state = state_of(read_checkpoint(path), str(path))
    check_match(match_state(STATE, state), str(path))


@given(st.sampled_from(FILES).flatmap(changed_bytes))
def test_bytes(place, data):
    (place / 'a.pth').write_bytes(data)
    judge('checkpoint', lambda: load(place / 'a.pth'))


@given(st.binary(max_size=200), st.sampled_from([
    b'', b'PK\x03\x04', EXAMPLE[:40], b'\x80\x02', b'version https://git-lfs', b'{"a": 1}', b'<']))
def test_anything(place, data, start):
    (place / 'a.pth').write_bytes(start + data)
    judge('checkpoint', lambda: load(place / 'a.pth'))


@st.composite
def pickles(draw):
    """Return a checkpoint whose pickle is changed, in a sound archive."""
    source = zipfile.ZipFile(io.BytesIO(EXAMPLE))
    target = io.BytesIO()
    with zipfile.ZipFile(target, 'w') as archive:
        for name in source.namelist():
            data = source.read(name)
            if name.endswith('data.pkl'):
                data = draw(changed_bytes(data))
            archive.writestr(name, data)
    return target.getvalue()


@given(pickles())
def test_changed_pickles(place, data):
    (place / 'a.pth').write_bytes(data)
    judge('checkpoint', lambda: load(place / 'a.pth'))


@st.composite
def contents(draw):
    """Return what a checkpoint may hold: some keys and tensors are of other kinds."""
    content = dict(GOOD, state_dict=dict(STATE))
    for _ in range(draw(st.integers(1, 3))):
        where = draw(st.sampled_from(['top', 'state', 'state', 'drop', 'add', 'whole']))
        if where == 'whole':
            return draw(TENSORS)
        if where == 'top':
            content[draw(st.sampled_from(['meta', 'state_dict', 'optimizer', 'message_hub',
                                          'net', 'ema_net', 'ema_state_dict']))] = draw(TENSORS)
        state = content['state_dict'] if isinstance(content['state_dict'], dict) else {}
        if not state:
            continue
        key = draw(st.sampled_from(list(state)))
        if where == 'state':
            state[key] = draw(TENSORS)
        elif where == 'drop':
            state.pop(key)
        elif where == 'add':
            state[draw(st.one_of(st.text(max_size=20), st.integers(), st.none()))] = draw(TENSORS)
    return content


@given(contents())
def test_other_structure(place, content):
    from mmengine.config import Config
    torch.save(content, place / 'a.pth')
    judge('checkpoint', lambda: load_model(Config(CFG), str(place / 'a.pth')))


@given(st.sampled_from(['meta', 'state_dict', 'message_hub', 'new']), st.booleans())
def test_code(place, key, legacy):
    proof = place / 'proof'
    torch.save(dict(GOOD, **{key: Payload(proof)}), place / 'a.pth',
               _use_new_zipfile_serialization=not legacy)
    judge('checkpoint', lambda: load(place / 'a.pth'))
    assert not proof.exists()


@given(st.sampled_from(FILES).flatmap(changed_bytes), st.sampled_from([
    ('tools/misc/publish_model.py', ), ('tools/model_converters/sg2mm.py', ),
    ('tools/model_converters/sg2mm.py', '--reverse'),
    ('tools/model_converters/sg2mm.py', '--init-pose')]))
def test_tools(place, data, tool):
    (place / 'a.pth').write_bytes(data)
    judge_tool('checkpoint', tool[0], place / 'a.pth', place / 'out' / 'b.pth', *tool[1:])


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(
    lambda text: text.encode('utf-8', 'surrogatepass'))))
def test_pointers(place, data):
    (place / 'last_checkpoint').write_bytes(data)
    judge('last_checkpoint', lambda: last_checkpoint(str(place)))
