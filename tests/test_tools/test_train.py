"""tools/train.py and tools/test.py as their users call them."""
import pytest
import torch
from mmengine.config import Config

from mmyolonas.engine import running
from mmyolonas.utils import UserError
from tests import tiny
from tests.conftest import ROOT
from tests.forked import Forked
from tests.killing import kill_at_line, start_and_read
from tests.run_tool import run_tool


def start(config, work_dir, *options) -> Forked:
    """Start tools/train.py in a process of its own."""
    return start_and_read([ROOT / 'tools' / 'train.py', config, '--work-dir', work_dir, *options])


@pytest.fixture
def config(tmp_path):
    data = tiny.write_data(tmp_path / 'data')
    cfg = tiny.config(data, tmp_path / 'unused', epochs=3)
    cfg['default_hooks']['logger']['interval'] = 1
    cfg['val_dataloader'] = cfg['val_cfg'] = cfg['val_evaluator'] = None
    del cfg['work_dir']
    return tiny.write_config(tmp_path / 'tiny_config.py', cfg)


@pytest.mark.long
def test_killed_training_resumes_to_the_same_weights(config, tmp_path):
    """kill -9 in the middle of an epoch, then --resume."""
    kill_at_line(start(config, tmp_path / 'killed'), 'Epoch(train) [2][2/3]')
    assert not (tmp_path / 'killed' / 'epoch_3.pth').exists()
    runs = [start(config, tmp_path / 'killed', '--resume'), start(config, tmp_path / 'whole')]
    for process, mark in zip(runs, ('resumed epoch: ', 'Epoch(train) [1][1/3]')):
        text = process.communicate()[0]
        assert process.returncode == 0, text[-3000:]
        assert mark in text
        assert 'eta: ' in text
    killed, whole = (torch.load(tmp_path / name / 'epoch_3.pth') for name in ('killed', 'whole'))
    for part in ('state_dict', 'ema_state_dict'):
        for key, value in whole[part].items():
            assert torch.equal(killed[part][key], value), key


def test_clear_messages(config, tmp_path, capsys):
    def message(*arguments, tool='tools/train.py') -> str:
        assert run_tool(tool, *arguments) == 1
        return capsys.readouterr().err

    assert 'does not exist' in message(tmp_path / 'none.py')
    similar = message('configs/yolonas/yolonas_s_cocos.py')
    assert 'Did you mean' in similar and 'yolonas_s_coco.py' in similar
    absent = message(config, '--cfg-options', 'train_dataloader.dataset.data_root=absent/data/')
    assert absent.startswith('error: the annotation file of train_dataloader does not exist: '
                             'absent/data/annotations.json')
    assert 'ln -s /path/to/data absent' in absent
    absent = message(config, '--cfg-options', 'train_dataloader.dataset.data_prefix.img=none/')
    assert 'the image folder of train_dataloader does not exist' in absent
    assert 'base_batch_size' in message(config, '--auto-scale-lr')
    assert 'checkpoint none.pth does not exist' in message(config, '--resume', 'none.pth')
    assert 'checkpoint none.pth does not exist' in message(
        config, 'none.pth', tool='tools/test.py')
    assert 'must end in .pkl' in message(
        config, 'none.pth', '--out', 'a.txt', tool='tools/test.py')


def test_resume_finds_the_checkpoint(tmp_path, capsys):
    work = tmp_path / 'work'
    work.mkdir()
    cfg = Config(dict(work_dir=str(work), load_from='pretrained.pth'))
    running.apply_resume(cfg, 'auto')  # nothing there yet: start as the config says
    assert cfg.load_from == 'pretrained.pth' and not cfg.get('resume')
    assert 'nothing to resume' in capsys.readouterr().err
    (work / 'last_checkpoint').write_text('/elsewhere/before/it/moved/epoch_3.pth')
    with pytest.raises(UserError, match='names /elsewhere'):
        running.apply_resume(cfg, 'auto')
    (work / 'epoch_3.pth').write_bytes(b'')
    running.apply_resume(cfg, 'auto')
    assert cfg.resume and cfg.load_from == str(work / 'epoch_3.pth')


def test_precision_options():
    def wrapper(requested: bool, **optim_wrapper) -> str:
        cfg = Config(dict(optim_wrapper=optim_wrapper))
        running.apply_amp(cfg, requested)
        return cfg.optim_wrapper.get('type')

    ours = 'mmyolonas.AutoAmpOptimWrapper'
    assert wrapper(True, type='OptimWrapper') == ours
    assert wrapper(False, type='OptimWrapper') == 'OptimWrapper'
    assert wrapper(False, type='AmpOptimWrapper') == ours
    assert wrapper(True) == ours
    with pytest.raises(UserError, match='other.Wrapper'):
        wrapper(True, type='other.Wrapper')


def test_evaluation_tool(tmp_path, config, monkeypatch, capsys):
    """Evaluates, draws, dumps; the fused model scores the same."""
    import pickle

    from mmyolonas.utils.building import build_model
    cfg = Config.fromfile(config)
    cfg.default_hooks.visualization = dict(type='DetVisualizationHook')
    cfg.dump(config)
    model = build_model(cfg)
    for level in model.bbox_head.levels:
        torch.nn.init.normal_(level.cls_pred.weight, std=2)
    torch.save(dict(state_dict=model.state_dict()), tmp_path / 'model.pth')
    results = []
    for name, options in (('a', ('--show-dir', 'drawn')), ('b', ('--fuse', ))):
        out = tmp_path / f'{name}.pkl'
        assert run_tool('tools/test.py', config, tmp_path / 'model.pth', '--work-dir',
                        tmp_path / name, '--out', out, *options) == 0
        results.append(pickle.loads(out.read_bytes()))
    assert list((tmp_path / 'a').glob('*/drawn/*.png'))
    first, second = ([r['pred_instances']['scores'] for r in result] for result in results)
    for a, b in zip(first, second):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=0)
