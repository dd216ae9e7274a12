"""Curves for TensorBoard, Weights & Biases and MLflow: what a written config sets up works."""
import os

import pytest
from mmengine.config import Config
from mmengine.registry import VISUALIZERS, init_default_scope

from mmyolonas.workflows.finetune.finetune_config import tracking
from tests.run_tool import run_tool

TOOL = 'tools/finetune.py'


def visualiser(folder, name):
    """Return the visualiser of a config's line, after a curve was written."""
    values = {}
    exec(tracking((name, )), values)  # the line of a config
    init_default_scope('mmdet')
    backends = values['visualizer']['vis_backends']
    shown = VISUALIZERS.build(dict(type='DetLocalVisualizer', name=f'{name}_{os.getpid()}',
                                   vis_backends=backends, save_dir=str(folder)))
    shown.add_config(Config(dict(work_dir=str(folder), lr=1)))  # as a runner begins
    for step, value in ((1, 0.25), (2, 0.5)):
        shown.add_scalars({'coco/bbox_mAP': value, 'coco/cell ($red) <b>': value}, step=step)
    shown.close()
    return shown


def test_tensorboard(tmp_path):
    pytest.importorskip('tensorboard')
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    visualiser(tmp_path, 'tensorboard')
    events = EventAccumulator(str(tmp_path / 'vis_data'))
    events.Reload()
    assert [event.value for event in events.Scalars('coco/bbox_mAP')] == [0.25, 0.5]


def test_wandb(tmp_path, monkeypatch, capsys):
    pytest.importorskip('wandb')
    monkeypatch.setenv('WANDB_MODE', 'offline')
    visualiser(tmp_path, 'wandb')
    assert len(list(tmp_path.rglob('run-*.wandb'))) == 1
    assert 'coco/bbox_mAP 0.5' in capsys.readouterr().err  # of the summary


def test_mlflow(tmp_path, monkeypatch):
    mlflow = pytest.importorskip('mlflow')
    pytest.importorskip('sqlalchemy')
    monkeypatch.chdir(tmp_path)
    visualiser(tmp_path, 'mlflow')
    client = mlflow.MlflowClient('sqlite:///mlflow.db')
    experiment = client.get_experiment_by_name('finetune')
    run, = client.search_runs([experiment.experiment_id])
    assert 'coco/cell __red_ _b_' in run.data.metrics
    history = client.get_metric_history(run.info.run_id, 'coco/bbox_mAP')
    assert [metric.value for metric in history] == [0.25, 0.5]


def test_a_package_that_is_not_there(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr('importlib.util.find_spec', lambda name: None)
    assert run_tool(TOOL, tmp_path, '--track', 'wandb') == 1
    assert 'pip install wandb' in capsys.readouterr().err
    assert tracking(()) == ''
