"""Every tool that reads weights: damaged ones end in one sentence, and nothing is written."""
import pytest
import torch

from tests import tiny
from tests.bad_checkpoints import bad_checkpoints
from tests.run_tool import run_tool

KINDS = ('nan', 'cut', 'lfs', 'payload', 'list', 'state_list')


@pytest.fixture(scope='module')
def place(tmp_path_factory):
    """Return a folder with data, a config, and damaged checkpoints by name."""
    from mmengine.config import Config

    from mmyolonas.utils.building import build_model
    folder = tmp_path_factory.mktemp('weights')
    data = tiny.write_data(folder / 'data', count=2)
    tiny.write_config(folder / 'config.py', tiny.config(data, folder / 'work', epochs=1))
    cfg = Config(dict(default_scope='mmdet', model=tiny.model_config()))
    good = dict(meta=dict(epoch=0, iter=0), state_dict=build_model(cfg).state_dict(),
                optimizer={}, message_hub={})
    torch.save(good, folder / 'good.pth')
    for name, (content, _) in bad_checkpoints(good, folder / 'proof').items():
        (folder / f'{name}.pth').write_bytes(content)
    return folder


COMMANDS = {
    'test': ['tools/test.py', 'CONFIG', 'WEIGHTS', '--work-dir', 'OUT', '--out', 'OUT/r.pkl'],
    'image_demo': ['demo/image_demo.py', 'CONFIG', 'WEIGHTS', 'IMAGES', '--out-dir', 'OUT'],
    'pseudo_label': ['tools/pseudo_label.py', 'CONFIG', 'WEIGHTS', 'IMAGES', '--out', 'OUT/l.json'],
    'publish': ['tools/misc/publish_model.py', 'WEIGHTS', 'OUT/m.pth'],
    'sg2mm': ['tools/model_converters/sg2mm.py', 'WEIGHTS', 'OUT/m.pth', '--reverse'],
    'benchmark': ['tools/analysis_tools/benchmark.py', 'CONFIG', 'WEIGHTS', '--shape', '64', '64',
                  '--iterations', '1', '--warmup', '0', '--out', 'OUT/b.json'],
    'load_from': ['tools/train.py', 'CONFIG', '--work-dir', 'OUT', '--cfg-options',
                  'load_from=WEIGHTS'],
    'resume': ['tools/train.py', 'CONFIG', '--work-dir', 'OUT', '--resume', 'WEIGHTS'],
    'finetune': ['tools/finetune.py', 'IMAGES', '--pretrained', 'WEIGHTS', '--work-dir', 'OUT'],
    'quantize': ['tools/quantize.py', 'CONFIG', 'WEIGHTS', '--work-dir', 'OUT'],
    'deploy': ['tools/deploy.py', 'configs/deploy/detection_onnxruntime_static.py', 'CONFIG',
               'WEIGHTS', 'IMAGES/000.png', '--work-dir', 'OUT', '--cfg-options',
               'onnx_config.input_shape=[64,64]'],
}


def run(name, place, weights, out):
    """Run a tool's command line with some weights."""
    words = [word.replace('CONFIG', f'{place}/config.py').replace('IMAGES', f'{place}/data')
             .replace('WEIGHTS', str(weights)).replace('OUT', str(out)) for word in COMMANDS[name]]
    words = [str(tiny_root() / word) if word.startswith('configs/') else word for word in words]
    return run_tool(*words)


def tiny_root():
    from tests.conftest import ROOT
    return ROOT


@pytest.mark.parametrize('name', COMMANDS)
def test_damaged_weights(name, place, tmp_path, capsys, monkeypatch):
    if name in ('quantize', ):
        pytest.importorskip('modelopt')
    monkeypatch.chdir(tmp_path)
    for kind in KINDS:
        out = tmp_path / kind
        code = run(name, place, place / f'{kind}.pth', out)
        said = capsys.readouterr().err
        lines = [line for line in said.splitlines() if line.startswith('error: ')]
        assert code == 1 and len(lines) == 1 and f'{kind}.pth' in lines[0], (kind, said[-500:])
        assert 'Traceback' not in said and 'unexpected' not in said
        if kind == 'nan':
            assert 'not numbers' in lines[0]
        made = [path for path in out.rglob('*') if path.suffix in (
            '.pkl', '.jsonl', '.pth', '.onnx', '.json') and 'vis_data' not in path.parts
            and path.name != 'stages.json']
        assert not made, (kind, made)
    assert not (place / 'proof').exists()
