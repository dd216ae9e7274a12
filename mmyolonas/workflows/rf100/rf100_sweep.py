"""Choosing learning rate, weight decay and EMA on a few data sets, as was published."""
import random
from dataclasses import replace
from pathlib import Path
from statistics import mean
from typing import Dict, List, Sequence

from mmyolonas.utils.files import explain_full_disk, write_text
from mmyolonas.workflows.rf100.grid_sweep import Grid, GridSweep, SweepPoint, plot_sweep
from mmyolonas.workflows.rf100.rf100_run import RF100Options, run_dataset

#: Settings of the config behind the names of the grid. The third is the EMA's decay:
#: the EMA is the first of the configs' custom hooks.
_KEYS = dict(lr='optim_wrapper.optimizer.lr', wd='optim_wrapper.optimizer.weight_decay',
             ema='custom_hooks.0.decay')


def choose_subset(names: Sequence[str], count: int, seed: int) -> List[str]:
    """Return ``count`` data sets drawn at random, sorted; the same for the same seed."""
    names = sorted(names)
    return sorted(random.Random(seed).sample(names, min(count, len(names))))


def run_sweep(names: Sequence[str], options: RF100Options, grid: Grid) -> List[SweepPoint]:
    """Train on each data set with each combination; maximise the mean AP on valid.

    The test splits are left for the report: settings that were chosen on them
    would flatter it. What was published does not say which split it used.

    Args:
        names (Sequence[str]): The data sets.
        options (RF100Options): See there; ``work_dir`` is the sweep's folder.
        grid (dict): Values of ``lr``, ``wd`` and ``ema``.

    Returns:
        list[SweepPoint]: All combinations, the best first; also in ``sweep.md``
        and ``sweep.png``.

    Raises:
        UserError, DataError: A training failed; what is finished is kept.
    """
    identity = options.identity()
    sweep = GridSweep(options.work_dir, grid, dict(identity, datasets=list(names)))

    def objective(params: Dict[str, float], folder: Path) -> float:
        changes = [f'{_KEYS[name]}={value}' for name, value in params.items()]
        own = replace(options, work_dir=folder, cfg_options=[*options.cfg_options, *changes])
        return mean(run_dataset(name, own, dict(identity, **params), test=False).valid_ap
                    for name in names)

    advice = 'Make room and start the same command again; what is done is kept.'
    with explain_full_disk(options.work_dir, advice):
        points = sweep.run(objective)
        write_text(options.work_dir / 'sweep.md', sweep_text(points, names))
        plot_sweep(points, options.work_dir / 'sweep.png', 'mean AP on valid')
    return points


def sweep_text(points: Sequence[SweepPoint], names: Sequence[str]) -> str:
    """Return a Markdown table of all combinations."""
    keys = list(points[0].params)
    lines = [f'# Sweep over {len(names)} data sets', '', ', '.join(names), '',
             f'| {" | ".join(keys)} | mean AP on valid |', '|---' * (len(keys) + 1) + '|']
    lines += ['| ' + ' | '.join(f'{point.params[key]:g}' for key in keys)
              + f' | {point.value:.4f} |' for point in points]
    return '\n'.join(lines) + '\n'
