"""Counting, browsing, timing, plotting, printing, publishing."""
import json

import cv2
import pytest
import torch

from mmyolonas.utils.building import build_model
from mmyolonas.utils.configs import load_config
from tests import tiny
from tests.run_tool import run_tool


@pytest.fixture
def config(tmp_path):
    data = tiny.write_data(tmp_path / 'data')
    return tiny.write_config(tmp_path / 'tiny_config.py', tiny.config(data, tmp_path / 'work'))


@pytest.mark.parametrize('size, before, macs, after', [('s', '12.88M', '16.94', '12.18M')])
def test_flops_of_the_published_size(size, before, macs, after, capsys):
    assert run_tool('tools/analysis_tools/get_flops.py',
                    f'configs/yolonas/yolonas_{size}_coco.py') == 0
    total = next(line for line in capsys.readouterr().out.splitlines() if '| total' in line)
    columns = [column.strip() for column in total.split('|')]
    assert columns[2:4] == [before, macs] and columns[5] == after


def test_flops_by_hand(config, capsys):
    """The stem of the tiny model, and the parts add up to the whole."""
    from tools.analysis_tools.get_flops import count
    model = build_model(load_config(str(config)))
    result = count(model, (1, 3, 64, 96))
    parts = [result[name] for name in ('backbone', 'neck', 'bbox_head')]
    assert tuple(map(sum, zip(*parts))) == result['total']
    assert result['total'][0] == sum(p.numel() for p in model.parameters())
    # a 1x1 and a 3x3 convolution from 3 to 8 channels on 32 x 48 positions
    model.backbone.out_indices = ()
    only_stem = torch.nn.Module()
    only_stem.backbone = model.backbone.stem

    class Stem(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.backbone = model.backbone.stem

        def forward(self, inputs, samples, mode):
            return self.backbone(inputs)

    assert count(Stem(), (1, 3, 64, 96))['backbone'][1] == (9 + 1) * 3 * 8 * 32 * 48


def test_browse(config, tmp_path, capsys):
    out = tmp_path / 'grid.png'
    tool = 'tools/analysis_tools/browse_dataset.py'
    assert run_tool(tool, config, '--out', out, '--number', 4, '--columns', 2) == 0
    grid = cv2.imread(str(out))
    assert grid.shape == (2 * 324, 2 * 324, 3)
    assert run_tool(tool, config, '--out', tmp_path / 'folder', '--number', 4, '--repeat', 2) == 0
    files = sorted((tmp_path / 'folder').glob('*.png'))
    assert len(files) == 4 and cv2.imread(str(files[0])).shape[:2] == (64, 64)
    assert run_tool(tool, config, '--loader', 'none_dataloader') == 1
    assert 'no none_dataloader' in capsys.readouterr().err


@pytest.mark.parametrize('options', [(), ('--predict', '--no-fuse', '--channels-last')])
def test_benchmark(config, tmp_path, capsys, options):
    out = tmp_path / 'speed.json'
    assert run_tool('tools/analysis_tools/benchmark.py', config, '--shape', 64, 96, '--batch-size',
                    2, '--iterations', 5, '--warmup', 1, '--out', out, *options) == 0
    result = json.loads(out.read_text())
    assert 0 < result['min'] <= result['p50'] <= result['p90'] <= result['p99']
    assert result['images_per_second'] == pytest.approx(2e3 / result['p50'])
    assert 'images/s' in capsys.readouterr().out


def test_plot_curves(tmp_path, capsys):
    path = tmp_path / 'run' / '1' / 'vis_data' / 'scalars.json'
    path.parent.mkdir(parents=True)
    rows = [dict(loss=1.0 / i, lr=0.1, iter=i, step=i) for i in (1, 2)]
    rows += [{'coco/bbox_mAP': v, 'step': i} for i, v in ((1, 0.2), (2, 0.5), (3, 0.4))]
    path.write_text('\n'.join(map(json.dumps, rows)))
    assert run_tool('tools/analysis_tools/plot_curves.py', tmp_path / 'run') == 0
    assert (tmp_path / 'run' / 'curves.png').is_file()
    assert 'coco/bbox_mAP: last 0.4000, best 0.5000 at epoch 2' in capsys.readouterr().out


def test_print_config(tmp_path, capsys):
    out = tmp_path / 'whole.py'
    assert run_tool('tools/misc/print_config.py', 'configs/yolonas/yolonas_m_coco.py',
                    '--save-path', out, '--cfg-options', 'max_epochs=7') == 0
    text = capsys.readouterr().out
    assert 'max_epochs = 7' in text and out.read_text().strip() == text.strip()
    whole, part = load_config(str(out)), load_config('configs/yolonas/yolonas_m_coco.py')
    assert whole.model == part.model


def test_publish(config, tmp_path, capsys):
    model = build_model(load_config(str(config)))
    source = tmp_path / 'epoch_1.pth'
    torch.save(dict(state_dict=model.state_dict(), optimizer=dict(big=torch.zeros(100000)),
                    ema_state_dict=model.state_dict(), message_hub={},
                    meta=dict(epoch=1, dataset_meta=dict(classes=('a', 'b')))), source)
    assert run_tool('tools/misc/publish_model.py', source, tmp_path / 'model.pth', '--half') == 0
    published, = tmp_path.glob('model-????????.pth')
    assert str(published) in capsys.readouterr().out
    assert published.stat().st_size < source.stat().st_size / 2
    content = torch.load(published)
    assert set(content) == {'meta', 'state_dict'} and content['meta']['epoch'] == 1
    for key, value in model.state_dict().items():
        assert torch.equal(content['state_dict'][key].float(), value.half().float())
