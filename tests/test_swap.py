"""Parts of YOLO-NAS in other detectors and the other way round, under any default scope."""
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData

CONFIGS = Path(__file__).resolve().parent.parent / 'configs' / 'swap'


def batch(size=96):
    """Return two images, one of them without objects, as a data loader gives them."""
    from mmdet.structures import DetDataSample
    generator = torch.Generator().manual_seed(0)
    inputs, samples = [], []
    for boxes in ([[10., 12., 60., 70.], [40., 30., 90., 88.]], []):
        inputs.append(torch.randint(0, 255, (3, size, size), generator=generator,
                                    dtype=torch.uint8))
        sample = DetDataSample(metainfo=dict(
            img_shape=(size, size), ori_shape=(size * 2, size * 2), scale_factor=(0.5, 0.5),
            batch_input_shape=(size, size), img_id=len(samples)))
        sample.gt_instances = InstanceData(
            bboxes=torch.tensor(boxes).reshape(-1, 4),
            labels=torch.arange(len(boxes)))
        samples.append(sample)
    return dict(inputs=inputs, data_samples=samples)


@pytest.mark.parametrize('scope', ['mmdet', 'mmpose', None])
@pytest.mark.parametrize('name', sorted(path.stem for path in CONFIGS.glob('*.py')))
@pytest.mark.long
def test_swap(name, scope):
    if scope is not None:
        if scope == 'mmpose':
            pytest.importorskip('mmpose')
        DefaultScope.get_instance(f'swap_{scope}', scope_name=scope)
    cfg = Config.fromfile(CONFIGS / f'{name}.py')
    cfg.model.backbone.pop('init_cfg', None)
    model = MODELS.build(cfg.model)
    wrapper = build_optim_wrapper(
        model, dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=1e-3)))
    model.train()
    before = next(p for p in model.backbone.parameters() if p.requires_grad).clone()
    losses = model.train_step(batch(), wrapper)
    assert all(torch.isfinite(value).all() for value in losses.values())
    after = next(p for p in model.backbone.parameters() if p.requires_grad)
    assert not torch.equal(before, after)

    model.eval()
    with torch.no_grad():
        results = model.test_step(batch())
    assert len(results) == 2
    for result in results:
        predictions = result.pred_instances
        assert predictions.bboxes.shape == (len(predictions), 4)
        assert (predictions.bboxes >= 0).all() and (predictions.bboxes <= 192).all()
        assert (predictions.labels < 80).all()


def test_all_swaps_are_covered():
    assert len(list(CONFIGS.glob('*.py'))) >= 3
