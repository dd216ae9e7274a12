"""Early stopping that survives a resume, and a closed augmentation at the end."""
import json

import pytest
from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.registry import METRICS

from mmyolonas.engine.hooks import CloseAugmentationHook
from mmyolonas.engine.hooks.patience_hook import HISTORY
from mmyolonas.engine.running import build_runner
from tests import tiny


@METRICS.register_module()
class ScriptedMetric(BaseMetric):
    """Gives the values of a list, by the number of the validation in the process."""
    default_prefix = 'scripted'
    values: list = []

    def process(self, data_batch, data_samples):
        self.results += [0] * len(data_samples)

    def compute_metrics(self, results):
        return dict(value=ScriptedMetric.values.pop(0))


def train(folder, values, epochs=10, patience=3, resume=None, name='work'):
    """Train with scripted validations; return the runner."""
    data = folder / 'data'
    if not data.is_dir():
        tiny.write_data(data, count=2)
    cfg = Config(tiny.config(data, folder / name, epochs=epochs))
    cfg.val_evaluator = dict(type='ScriptedMetric')
    cfg.train_cfg.val_interval = 1
    cfg.custom_hooks = [dict(type='mmyolonas.PatienceHook', monitor='scripted/value',
                             rule='greater', min_delta=0.01, patience=patience)]
    cfg.experiment_name = f'{folder.name}_{name}_{resume}_{len(values)}_{patience}'
    if resume:
        cfg.resume, cfg.load_from = True, str(folder / name / resume)
    ScriptedMetric.values = list(values)
    runner = build_runner(cfg)
    runner.train()
    return runner


def test_waiting_goes_on_after_a_resume(tmp_path):
    """Two validations without a gain before, one behind: together three."""
    stopped = train(tmp_path, [0.5, 0.5, 0.5, 0.5, 0.9], name='whole')
    assert stopped.epoch == 4
    first = train(tmp_path, [0.5, 0.5, 0.5], epochs=3)
    assert first.epoch == 3 and len(json.loads((tmp_path / 'work' / HISTORY).read_text())[
        'validations']) == 3
    again = train(tmp_path, [0.505, 0.9], resume='epoch_3.pth')
    assert again.epoch == 4
    # as long as it waits no longer there is nothing to do; with more patience it goes on
    assert train(tmp_path, [0.9], resume='epoch_4.pth').epoch == 4
    longer = train(tmp_path, [0.5] * 9, resume='epoch_4.pth', patience=5)
    assert longer.epoch == 6


def test_lost_and_foreign_validations_do_not_count(tmp_path):
    train(tmp_path, [0.5, 0.5, 0.5], epochs=3)
    # from an earlier checkpoint: the later validations are of weights that are gone
    assert train(tmp_path, [0.5, 0.6, 0.6, 0.6, 0.6, 0.6], resume='epoch_1.pth').epoch == 6
    path = tmp_path / 'work' / HISTORY
    rows = json.loads(path.read_text())['validations']
    assert [value for _, value in rows] == [0.5, 0.5, 0.6, 0.6, 0.6, 0.6]
    for text in ('{', json.dumps(dict(monitor='other', validations=[[1, 0.9]]))):
        path.write_text(text)
        assert train(tmp_path, [0.1] * 9, epochs=9, resume='epoch_5.pth').epoch == 9
    # a training from the beginning does not look at it
    assert train(tmp_path, [0.1] * 2, epochs=2).epoch == 2


def test_validating_is_no_training(tmp_path):
    train(tmp_path, [0.5], epochs=1)
    before = (tmp_path / 'work' / HISTORY).read_bytes()
    cfg = Config(tiny.config(tmp_path / 'data', tmp_path / 'work'))
    cfg.val_evaluator = dict(type='ScriptedMetric')
    cfg.custom_hooks = [dict(type='mmyolonas.PatienceHook', monitor='scripted/value',
                             rule='greater')]
    cfg.experiment_name = f'{tmp_path.name}_val'
    ScriptedMetric.values = [0.1]
    build_runner(cfg).val()
    assert (tmp_path / 'work' / HISTORY).read_bytes() == before


@pytest.mark.parametrize('workers', [0, 1])
def test_the_last_epochs_have_the_plain_pipeline(tmp_path, workers):
    """Also below wrappers and in persistent workers, and from the first epoch after a resume."""
    seen = []

    def run(resume=None):
        cfg = Config(tiny.config(tmp_path / 'data', tmp_path / 'work', epochs=4, workers=workers))
        loader = cfg.train_dataloader
        loader.persistent_workers = workers > 0
        loader.batch_size = 1
        plain = [dict(step) for step in loader.dataset.pipeline]
        plain[3] = dict(plain[3], scale=(96, 96))
        mixed = plain[:2] + [dict(type='Resize', scale=(64, 64), keep_ratio=True)] + plain[4:]
        loader.dataset = dict(type='RepeatDataset', times=1, dataset=dict(
            type='ClassBalancedDataset', oversample_thr=0.1,
            dataset=dict(loader.dataset, pipeline=mixed)))
        cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None
        cfg.custom_hooks = [dict(type='mmyolonas.EpochSeedHook'), dict(
            type='mmyolonas.CloseAugmentationHook', epochs=2,
            pipeline=[step for step in plain if step['type'] != 'CachedMixUp'])]
        cfg.experiment_name = f'{tmp_path.name}_{workers}_{resume}'
        if resume:
            cfg.resume, cfg.load_from = True, str(tmp_path / 'work' / resume)
        runner = build_runner(cfg)
        step = runner.model.train_step

        def train_step(data, optim_wrapper):
            seen.append((runner.epoch, data['inputs'][0].shape[-1]))
            return step(data, optim_wrapper)

        runner.model.train_step = train_step
        runner.train()

    tiny.write_data(tmp_path / 'data', count=2)
    run()
    assert seen == [(e, 64 if e < 2 else 96) for e in range(4) for _ in range(2)]
    seen.clear()
    run('epoch_3.pth')
    assert seen == [(3, 96)] * 2


def test_data_sets_joined():
    from types import SimpleNamespace
    parts = [SimpleNamespace(pipeline=None), SimpleNamespace(pipeline=None)]
    loader = SimpleNamespace(dataset=SimpleNamespace(datasets=parts))
    runner = SimpleNamespace(epoch=9, max_epochs=10, train_dataloader=loader,
                             logger=SimpleNamespace(info=lambda text: None))
    CloseAugmentationHook(1, []).before_train_epoch(runner)
    assert all(part.pipeline is not None for part in parts)
