"""The model zoo's counts are those of the models."""
import re
import runpy

import pytest
import torch
from mmengine.config import Config

from mmyolonas.utils.building import build_model, switch_to_deploy
from tests.conftest import ROOT

TEXT = (ROOT / 'docs' / 'en' / 'model_zoo.md').read_text(encoding='utf-8')


def rows(name: str) -> list:
    """Return the cells of every row of this name."""
    return [[cell.strip() for cell in row.split('|')]
            for row in re.findall(rf'^\| {re.escape(name)} \| (.*) \|$', TEXT, re.M)]


CONFIGS = [re.search(r'\.\./\.\./(configs/[^)]*)', cell)[1] for row in rows('config')
           for cell in row]
PARAMETERS = sum(rows('parameters, trained / fused (M)'), [])
FLOPS = sum(rows('GFLOPs at 640 x 640, trained / fused'), [])


@pytest.mark.parametrize('config, parameters, flops', list(zip(CONFIGS, PARAMETERS, FLOPS)))
def test_counts(config, parameters, flops):
    """Counted without computing: on the device that has shapes alone."""
    if 'pose' in config:
        pytest.importorskip('mmpose', reason='needs mmpose')
    count = runpy.run_path(str(ROOT / 'tools/analysis_tools/get_flops.py'))['count']
    with torch.device('meta'):
        model = build_model(Config.fromfile(ROOT / config))
        trained = count(model, (1, 3, 640, 640))['total']
        fused = count(switch_to_deploy(model), (1, 3, 640, 640))['total']
    assert parameters == f'{trained[0] / 1e6:.2f} / {fused[0] / 1e6:.2f}'
    assert flops == f'{2 * trained[1] / 1e9:.2f} / {2 * fused[1] / 1e9:.2f}'


def test_all_seven():
    assert len(CONFIGS) == len(PARAMETERS) == len(FLOPS) == 7
