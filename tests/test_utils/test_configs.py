"""Reading configs: what cannot be read, and data loaders without workers."""
import pytest
from torch.utils.data import DataLoader

from mmyolonas.utils import UserError
from mmyolonas.utils.configs import load_config

LOADER = '''train_dataloader = dict(
    batch_size=1, num_workers=2, persistent_workers=True, prefetch_factor=4)
'''


def test_a_loader_without_workers(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(LOADER)
    assert load_config(str(path)).train_dataloader.persistent_workers
    loader = load_config(str(path), {'train_dataloader.num_workers': 0}).train_dataloader
    assert list(DataLoader([1, 2], **loader)) == [1, 2]
    for value in (-1, '2', 1.5, None):
        with pytest.raises(UserError, match='num_workers must be a whole number'):
            load_config(str(path), {'train_dataloader.num_workers': value})


@pytest.mark.parametrize('text', [
    'a = (', 'a = b', 'raise RuntimeError("x\\ny")', 'a = {{$X:(}}',
    '_base_ = "none.py"', '\0', 'a = 1 / 0', '\xff', 'import sys; sys.exit(3)'])
def test_configs_that_cannot_be_read(text, tmp_path):
    path = tmp_path / 'config.py'
    path.write_bytes(text.encode('latin-1'))
    with pytest.raises(UserError, match='cannot be read') as caught:
        load_config(str(path))
    assert '\n' not in str(caught.value)


@pytest.mark.parametrize('options', [
    {'train_dataloader.batch_size.x': 1}, {'train_dataloader.0': 1}, {'a.b.c': 1, 'a.b': 2},
    {'': 1}, {'...': 2}])
def test_options_that_do_not_fit(options, tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(LOADER)
    try:
        load_config(str(path), options)
    except UserError as error:
        assert '--cfg-options' in str(error)
