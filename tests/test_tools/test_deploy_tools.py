"""The deployment tools from the command line."""
import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmyolonas.apis import Runtime
from mmyolonas.deploy.pipeline import load_model
from mmyolonas.utils.errors import UserError
from tests.exported_models import spread
from tests.tiny import config, write_data

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / 'configs' / 'deploy'


def run(name, monkeypatch, *arguments):
    """Run a tool's ``main`` with arguments."""
    spec = importlib.util.spec_from_file_location(name, ROOT / 'tools' / f'{name}.py')
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, name, module)
    spec.loader.exec_module(module)
    monkeypatch.setattr(sys, 'argv', [f'{name}.py', *map(str, arguments)])
    module.main()


@pytest.fixture(scope='module')
def work(tmp_path_factory):
    """Return a folder with data, a config file and weights."""
    folder = tmp_path_factory.mktemp('tools')
    data = write_data(folder / 'data')
    cfg = Config(config(data, folder / 'runs'))
    cfg.test_dataloader.dataset.pipeline.insert(
        2, dict(type='Pad', size=(64, 64), pad_val=dict(img=(114, 114, 114))))
    cfg.default_hooks = dict(logger=dict(type='LoggerHook'))
    cfg.visualizer = dict(type='DetLocalVisualizer')
    cfg.dump(folder / 'model.py')
    weights = spread(load_model(cfg, None)).state_dict()
    torch.save(dict(state_dict=weights, meta={}), folder / 'model.pth')
    return folder


@pytest.fixture(scope='module')
def exported(work):
    """Return the exported file."""
    with pytest.MonkeyPatch.context() as patch:
        run('deploy', patch, DEPLOY / 'detection_onnxruntime_static.py', work / 'model.py',
            work / 'model.pth', work / 'data' / '000.png', '--work-dir', work / 'out',
            '--dump-info')
    return work / 'out' / 'end2end.onnx'


def test_deploy_writes_files_and_a_picture(work, exported):
    names = {path.name for path in exported.parent.iterdir()}
    assert names == {'end2end.onnx', 'deploy.json', 'pipeline.json', 'detail.json',
                     'output_onnxruntime_000.jpg'}


def test_deploy_converts_a_given_file(work, exported, monkeypatch, capsys):
    run('deploy', monkeypatch, DEPLOY / 'detection_openvino_static.py', work / 'model.py',
        'unused.pth', work / 'data' / '000.png', '--work-dir', work / 'ov', '--onnx', exported)
    assert (work / 'ov' / 'end2end.xml').is_file() and (work / 'ov' / 'end2end.bin').is_file()
    assert 'above 0.3 drawn in' in capsys.readouterr().out


def test_deploy_says_what_is_wrong(work, exported, monkeypatch, tmp_path):
    given = work / 'model.py', work / 'model.pth', work / 'data' / '000.png'
    int8 = DEPLOY / 'detection_tensorrt-int8.py'
    static = DEPLOY / 'detection_onnxruntime_static.py'
    with pytest.raises(UserError, match='needs a quantised file'):
        run('deploy', monkeypatch, int8, *given)
    with pytest.raises(UserError, match='takes a quantised ONNX file'):
        run('deploy', monkeypatch, int8, *given, '--onnx', exported, '--work-dir', tmp_path,
            '--cfg-options', 'backend_config.package=tensorrt_rtx')
    with pytest.raises(UserError, match='is no deploy config'):
        run('deploy', monkeypatch, work / 'model.py', *given)
    with pytest.raises(UserError, match='does not exist'):
        run('deploy', monkeypatch, static, given[0], given[1], tmp_path / 'no.jpg')
    with pytest.raises(UserError, match='checkpoint'):
        run('deploy', monkeypatch, static, given[0], tmp_path / 'no.pth', given[2])
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    with pytest.raises(UserError, match='pip install tensorrt'):
        run('deploy', monkeypatch, DEPLOY / 'detection_tensorrt.py', *given, '--onnx', exported,
            '--work-dir', tmp_path)


def test_evaluation_stands_beside_pytorch(work, exported, monkeypatch, capsys):
    pytest.importorskip('mmdeploy')
    out = work / 'metrics.json'
    run('test_deployed', monkeypatch, DEPLOY / 'detection_onnxruntime_static.py',
        work / 'model.py', '--model', exported, '--checkpoint', work / 'model.pth', '--work-dir',
        work / 'runs', '--out', out)
    results = json.loads(out.read_text())
    one, other = results[str(exported)], results['PyTorch']
    assert one == pytest.approx(other, abs=1e-3) and 'coco/bbox_mAP' in one
    assert 'difference' in capsys.readouterr().out


def test_profile_splits_the_time(work, exported, monkeypatch, capsys):
    out = work / 'profile.json'
    run('profile_deployed', monkeypatch, exported, exported, work / 'data', '--backend',
        'onnxruntime', 'openvino', '--num', 3, '--warmup', 1, '--out', out)
    profiles = json.loads(out.read_text())
    assert [item['backend'] for item in profiles] == ['onnxruntime', 'openvino']
    for item in profiles:
        stages = item['percentiles']
        assert stages['total']['mean'] == pytest.approx(
            sum(stages[key]['mean'] for key in ('preprocess', 'network', 'postprocess')), rel=1e-6)
        assert stages['network']['p50'] <= stages['network']['p99']
        assert item['peak_memory'] > 10
    assert 'peak memory' in capsys.readouterr().out
    with pytest.raises(UserError, match='at least one exported file'):
        run('profile_deployed', monkeypatch, exported)
    with pytest.raises(UserError, match='no images'):
        run('profile_deployed', monkeypatch, exported, work / 'out' / '..' / 'runs')


@pytest.mark.long
def test_a_quantised_file_is_completed(work, monkeypatch, capsys):
    """tools/quantize.py, then tools/deploy.py --onnx: a file that can be used alone."""
    given = work / 'model.py', work / 'model.pth'
    run('quantize', monkeypatch, *given, '--work-dir', work / 'int8', '--calib-images', 2,
        '--calib-method', 'max', '--repeats', 1)
    image = work / 'data' / '000.png'
    run('deploy', monkeypatch, DEPLOY / 'detection_onnxruntime_static.py', *given, image,
        '--onnx', work / 'int8' / 'int8.onnx', '--work-dir', work / 'deployed_int8')
    whole = work / 'deployed_int8' / 'end2end.onnx'
    assert 'above 0.3 drawn in' in capsys.readouterr().out
    with Runtime(str(work / 'int8' / 'int8.onnx')) as raw, Runtime(str(whole)) as runtime:
        assert raw.metadata.class_names == runtime.metadata.class_names == [
            'square', 'disc']
        assert raw.metadata.preprocess == runtime.metadata.preprocess
        assert raw.metadata.preprocess.resize_size == [64, 64]
        expected, found = raw(str(image)), runtime(str(image))
    assert len(found) == len(expected) > 3
    assert found.boxes == pytest.approx(expected.boxes, abs=1e-2)
    assert (found.labels == expected.labels).all()
