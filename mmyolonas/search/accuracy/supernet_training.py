"""Training the supernet: the recipe's config with all sizes in one model."""
import time
from pathlib import Path
from typing import Optional, Tuple

import torch
from mmengine.config import Config
from mmengine.dist import is_main_process
from mmengine.registry import MODELS, init_default_scope

from mmyolonas.engine.running import build_runner, use_processes
from mmyolonas.search.accuracy.recipe import Recipe, load_what_fits
from mmyolonas.search.accuracy.supernet import TRUNK, Supernet
from mmyolonas.search.space.space import Space
from mmyolonas.utils.checkpoints import last_checkpoint
from mmyolonas.utils.configs import load_config
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import PathLike, atomic_path, write_text

#: Norm of the gradient beyond which it is cut, if the recipe names none: four networks pull
#: at the same weights.
_CLIP = 10.
#: What a supernet's training leaves out of a recipe: it has no norms to validate with.
_VALIDATION = ('val_dataloader', 'val_evaluator', 'val_cfg', 'test_dataloader', 'test_evaluator',
               'test_cfg')


def supernet_config(recipe: Recipe, space: Space, seed: int = 0, length: float = 1.) -> Config:
    """Return the config of a supernet's training.

    An ordinary config: ``tools/train.py`` and ``tools/dist_train.sh`` take it too.

    Args:
        recipe (Recipe): Data, schedule and model settings.
        space (Space): Architectures it is to hold. With a trunk of its own the trunk's
            weights are frozen; ``load_from`` of the recipe gives them.
        seed (int): Seed of weights, images and architectures. Defaults to 0.
        length (float): Epochs in multiples of the recipe's. Defaults to 1.
    """
    cfg = recipe.config(space.decode(space.largest()), seed)
    cfg = Config(cfg.to_dict())
    model = cfg.model.to_dict()
    cfg.model = dict(
        type=f'mmyolonas.{Supernet.__name__}', model=model, task=space.task, seed=seed,
        genes={gene.name: list(gene.values) for gene in space.genes},
        frozen_trunk=space.trunk is not None)
    if space.trunk is not None:
        load_what_fits(cfg, TRUNK)
    for key in _VALIDATION:
        cfg[key] = None
    imports = cfg.get('custom_imports') or dict(imports=[], allow_failed_imports=False)
    imports['imports'] = [*imports['imports'], 'mmyolonas.search.accuracy.supernet']
    cfg.custom_imports = imports
    cfg.optim_wrapper.setdefault('clip_grad', dict(max_norm=_CLIP))
    cfg.train_cfg.pop('val_interval', None)
    _stretch(cfg, length)
    hook = cfg.get('default_hooks', {}).get('checkpoint')
    if hook:
        hook.update(interval=1, save_best=None, max_keep_ckpts=1)
    return cfg


def _stretch(cfg: Config, length: float) -> None:
    """Change the number of epochs, and what the schedules end with."""
    before = cfg.train_cfg.get('max_epochs')
    if length == 1 or not before:
        return
    after = max(1, round(before * length))
    cfg.train_cfg.max_epochs = after
    for scheduler in cfg.get('param_scheduler') or ():
        for key in ('end', 'T_max'):
            if scheduler.get('by_epoch', True) and scheduler.get(key) == before:
                scheduler[key] = after


def train_supernet(recipe: Recipe, space: Space, work_dir: PathLike, seed: int = 0,
                   length: float = 1., launcher: str = 'none') -> Path:
    """Train a supernet, going on at its last checkpoint; return the finished one.

    Args:
        recipe (Recipe): See :func:`supernet_config`.
        space (Space): See there.
        work_dir (str | Path): Folder of config, log, checkpoints and of
            ``seconds.txt``, the processor time of each call.
        seed (int): Seed. Defaults to 0.
        length (float): See there.
        launcher (str): mmengine's launcher, for several processes.
    """
    work_dir = Path(work_dir)
    cfg = supernet_config(recipe, space, seed, length)
    cfg.work_dir, cfg.launcher = str(work_dir), launcher
    use_processes(cfg)
    cfg.experiment_name = f'{work_dir.name}_{time.time_ns()}'
    done = finished(work_dir)
    if done is not None:
        return done
    checkpoint = last_checkpoint(cfg.work_dir)
    if checkpoint is not None:
        cfg.resume, cfg.load_from = True, str(checkpoint)
    work_dir.mkdir(parents=True, exist_ok=True)
    with atomic_path(work_dir / 'supernet_config.py') as temporary:
        cfg.dump(str(temporary))
    start = time.process_time()
    build_runner(cfg).train()
    if is_main_process():
        with open(work_dir / 'seconds.txt', 'a', encoding='utf-8') as file:
            file.write(f'{time.process_time() - start:.1f}\n')
        write_text(work_dir / 'finished', last_checkpoint(str(work_dir)).name + '\n')
    return last_checkpoint(str(work_dir))


def finished(work_dir: PathLike) -> Optional[Path]:
    """Return the checkpoint of a supernet whose training is complete, else None."""
    mark = Path(work_dir) / 'finished'
    if not mark.is_file():
        return None
    path = Path(work_dir) / mark.read_text().strip()
    return path if path.is_file() else None


def load_supernet(work_dir: PathLike) -> Tuple[Supernet, Path]:
    """Return a trained supernet on the CPU, and the path of its checkpoint.

    Raises:
        UserError: The training is not complete.
    """
    path = finished(work_dir)
    if path is None:
        raise UserError(f'there is no trained supernet in {work_dir}; train it with '
                        'tools/search.py supernet.')
    cfg = load_config(str(Path(work_dir) / 'supernet_config.py'))
    init_default_scope(cfg.get('default_scope', 'mmdet'))
    model = MODELS.build(cfg.model)
    checkpoint = torch.load(path, map_location='cpu')
    model.load_state_dict(checkpoint['state_dict'], strict=True)
    return model, path
