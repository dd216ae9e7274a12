"""One way in for checkpoints: nothing runs, and what is wrong with a file is said in a sentence."""
import pickle

import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner.checkpoint import CheckpointLoader

from mmyolonas.utils import UserError
from mmyolonas.utils.checkpoint_match import state_of
from mmyolonas.utils.checkpoints import (
    check_checkpoint,
    last_checkpoint,
    load_plain,
    read_checkpoint,
)
from tests.bad_checkpoints import bad_checkpoints, safetensors, saved

GOOD = dict(meta=dict(epoch=1, classes=('a', 'b')),
            state_dict={'a.weight': torch.randn(64, 16), 'a.num_batches_tracked': torch.tensor(3)})
NAMES = list(bad_checkpoints(GOOD, 'proof'))


@pytest.mark.parametrize('name', NAMES)
@pytest.mark.parametrize('reader', ['ours', "mmengine's"])
def test_bad_files(name, reader, tmp_path):
    content, words = bad_checkpoints(GOOD, tmp_path / 'proof')[name]
    path = tmp_path / 'model.pth'
    path.write_bytes(content)
    with pytest.raises(UserError) as caught:
        if reader == 'ours':
            state_of(read_checkpoint(path), str(path))
        else:
            state_of(CheckpointLoader.load_checkpoint(str(path), 'cpu'), str(path))
    message = str(caught.value)
    assert words in message and str(path) in message and '\n' not in message
    assert not (tmp_path / 'proof').exists()


@pytest.mark.parametrize('path', ['missing.pth', '.', 'a' * 300, 'a\0b', 'file/below.pth'])
def test_bad_names(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'file').touch()
    for look in (check_checkpoint, read_checkpoint):
        with pytest.raises(UserError, match='does not exist|is a folder|cannot be read'):
            look(path)


def test_what_trainings_write_is_read(tmp_path):
    history = HistoryBuffer()
    history.update(1.5)
    content = dict(GOOD, message_hub=dict(log_scalars={'train/loss': history}),
                   optimizer=dict(state={0: dict(exp_avg=torch.ones(2))}))
    path = tmp_path / 'model.pth'
    for options in ({}, dict(_use_new_zipfile_serialization=False)):
        path.write_bytes(saved(content, **options))
        for read in (read_checkpoint, load_plain):
            found = read(path)
            assert torch.equal(found['state_dict']['a.weight'], GOOD['state_dict']['a.weight'])
            assert found['message_hub']['log_scalars']['train/loss'].mean() == 1.5
            assert found['meta'] == GOOD['meta']


@pytest.mark.parametrize('name', [name for name in NAMES if 'payload' in name or name == 'object'])
def test_the_reader_for_old_versions_runs_nothing_either(name, tmp_path):
    path = tmp_path / 'model.pth'
    path.write_bytes(bad_checkpoints(GOOD, tmp_path / 'proof')[name][0])
    with pytest.raises(pickle.UnpicklingError, match='Unsupported global'):
        load_plain(path)
    assert not (tmp_path / 'proof').exists()


def test_a_torchscript_archive_is_not_run(tmp_path):
    path = tmp_path / 'model.pt'
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(path))
    with pytest.raises(UserError, match='TorchScript'):
        read_checkpoint(path)
    with pytest.raises(pickle.UnpicklingError, match='TorchScript'):
        load_plain(path)


def test_trust_reads_objects(tmp_path):
    content, _ = bad_checkpoints(GOOD, tmp_path / 'proof')['payload']
    (tmp_path / 'model.pth').write_bytes(content)
    read_checkpoint(tmp_path / 'model.pth', trust=True)
    assert (tmp_path / 'proof').is_dir()


def test_safetensors(tmp_path):
    pytest.importorskip('safetensors')
    state = dict(a=torch.randn(3, 4))
    path = tmp_path / 'model.safetensors'
    path.write_bytes(safetensors(state))
    assert torch.equal(state_of(read_checkpoint(path))['a'], state['a'])
    for content in (safetensors(state)[:-5], safetensors(dict(a=torch.tensor([float('nan')])))):
        path.write_bytes(content)
        with pytest.raises(UserError, match='damaged|not numbers'):
            read_checkpoint(path)


def test_a_tensor_larger_than_its_data(tmp_path):
    """Four bytes that claim to be gigabytes fill the memory with the first operation."""
    (tmp_path / 'model.pth').write_bytes(
        saved(dict(state_dict=dict(a=torch.zeros(1).expand(1 << 33)))))
    with pytest.raises(UserError, match='damaged'):
        read_checkpoint(tmp_path / 'model.pth')


@pytest.mark.parametrize('text', [b'', b'\n', b'\xff\xfe\0', b'gone.pth', b'x' * 5000, b'a\0b'])
def test_a_damaged_pointer(text, tmp_path):
    (tmp_path / 'last_checkpoint').write_bytes(text)
    with pytest.raises(UserError, match='remove the pointer'):
        last_checkpoint(tmp_path)
