"""Trainings by the project's own tools, in processes of their own."""
import json
import statistics
from pathlib import Path
from typing import Any, Dict, List, Optional

from benchmarks.common import ROOT
from benchmarks.gpu.items import Settings
from mmyolonas.utils.stages import last_metrics, run_tool

_SHOWN = r'Epoch\(val\).*|Iter\(val\).*|resumed.*'


def drawn_images(settings: Settings, count: int, held_out: int, size: int = 320) -> Path:
    """Return a folder of drawn images in COCO's layout; they are drawn if it is not there."""
    from mmyolonas.datasets.samples.sample_data import generate_detection_samples
    folder = settings.folder() / f'drawn_{count}_{held_out}_{size}'
    generate_detection_samples(str(folder), count, held_out, size)
    return folder


def sample_options(data: Path, epochs: int) -> List[str]:
    """Return settings of configs/yolonas/yolonas_s_sample.py for a folder of drawn images."""
    return [f'{part}_dataloader.dataset.data_root={data}/' for part in ('train', 'val', 'test')] + [
        f'{part}_evaluator.ann_file={data}/annotations/instances_val.json'
        for part in ('val', 'test')] + epoch_options(epochs)


def epoch_options(epochs: int) -> List[str]:
    """Return the settings for a number of epochs."""
    return [f'train_cfg.max_epochs={epochs}', f'param_scheduler.1.end={epochs}',
            f'param_scheduler.1.T_max={epochs}']


def train(name: str, work: Path, settings: Settings, data: Path, epochs: int,
          options: List[str], resume: Optional[Path] = None, amp: bool = True) -> None:
    """Train by tools/train.py; a training that is there is gone on with.

    Args:
        name (str): ``'sample'``, or a config file.
        work (Path): Work folder.
        settings (Settings): Of the program.
        data (Path): Folder of drawn images; for ``'sample'``.
        epochs (int): Number of epochs; for ``'sample'``.
        options (list[str]): Settings of the config.
        resume (Path, optional): Checkpoint to go on with; the last one if None.
        amp (bool): Whether in mixed precision, on a GPU. Defaults to True.
    """
    config = Path(name)
    if name == 'sample':
        config = ROOT / 'configs' / 'yolonas' / 'yolonas_s_sample.py'
        options = [*sample_options(data, epochs), *options]
    arguments = [str(ROOT / 'tools' / 'train.py'), str(config), '--work-dir', str(work),
                 '--resume', *([str(resume)] if resume else []),
                 *(['--cfg-options', *options] if options else [])]
    if settings.on_gpu and amp:
        arguments.insert(2, '--amp')
    run_tool(arguments, work.parent / f'{work.name}.log', show=_SHOWN)


def test(config: Path, checkpoint: Path, work: Path, options: List[str]) -> Dict[str, float]:
    """Return AP and AP50 of a checkpoint on the config's test images, by pycocotools."""
    run_tool([str(ROOT / 'tools' / 'test.py'), str(config), str(checkpoint), '--work-dir',
              str(work), *(['--cfg-options', *options] if options else [])],
             work.parent / f'{work.name}.log', show=r'Epoch\(test\).*mAP.*')
    metrics = last_metrics(work)
    return dict(ap=metrics['coco/bbox_mAP'], ap50=metrics['coco/bbox_mAP_50'])


def step_seconds(work: Path) -> float:
    """Return the median seconds of a training step, loading included, of all logs of a training.

    Unlike the duration of the process it counts neither start-up nor validation, and survives an
    interruption.
    """
    return statistics.median(line['time'] for line in _logged(work))


def first_and_last_loss(work: Path) -> List[float]:
    """Return the first and the last loss that a training logged."""
    lines = _logged(work)
    return [lines[0]['loss'], lines[-1]['loss']]


def _logged(work: Path) -> List[dict]:
    """Return the lines of all logs of a training that tell of steps."""
    lines = [json.loads(line) for path in sorted(work.glob('*/vis_data/scalars.json'))
             for line in path.read_text(encoding='utf-8').splitlines()]
    return [line for line in lines if 'loss' in line and 'time' in line]


def run_benchmark(script: str, arguments: List[str], log: Path) -> None:
    """Run another script of this folder."""
    run_tool([str(ROOT / 'benchmarks' / script), *arguments], log, show=r'.*')


def read_json(path: Path) -> Any:
    """Return what a file holds."""
    return json.loads(path.read_text(encoding='utf-8'))
