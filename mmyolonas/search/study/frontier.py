"""What a search hands over: tables of points, chosen models, configs that train."""
import csv
import io
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence

from mmengine.config import Config

from mmyolonas.search.accuracy.evaluation import Point, objectives
from mmyolonas.search.accuracy.recipe import set_input_size, size_name
from mmyolonas.search.space.architecture import model_changes
from mmyolonas.search.space.encoding import Architecture, Genome, describe
from mmyolonas.search.space.space import Space
from mmyolonas.search.study.pareto import nondominated
from mmyolonas.utils.configs import load_config
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import PathLike, write_text
from mmyolonas.utils.inert import comment, literal
from mmyolonas.utils.names import csv_cell


@dataclass
class Choice:
    """A point of the frontier that is handed over as a model.

    Args:
        name (str): ``'s'``, ``'m'``, ``'l'`` or the latency that was asked for.
        point (Point): The architecture.
        limit (float): Milliseconds it had to keep.
    """
    name: str
    point: Point
    limit: float


def frontier(points: Sequence[Point],
             names: Sequence[str] = ('accuracy', 'latency')) -> List[Point]:
    """Return the points no other is better than, the fastest first."""
    found = [points[place] for place in nondominated(objectives(points, names))]
    return sorted(found, key=lambda point: point.latency)


def choose(points: Sequence[Point], limits: Dict[str, float], leaders: int = 1,
           rank: Optional[Callable[[Point], float]] = None) -> List[Choice]:
    """Pick the most accurate point within each limit.

    Args:
        points (Sequence[Point]): All that was evaluated.
        limits (dict[str, float]): Milliseconds by name.
        leaders (int): Most accurate points that ``rank`` chooses from. Defaults to 1.
        rank (Callable, optional): A better and dearer measure of accuracy.

    Raises:
        UserError: No point is as fast as a limit.
    """
    choices = []
    for name, limit in limits.items():
        fast = [point for point in points if point.latency <= limit]
        if not fast:
            raise UserError(
                f'no architecture of {len(points)} takes at most {limit:.3f} ms; the fastest '
                f'takes {min(point.latency for point in points):.3f} ms.')
        fast.sort(key=lambda p: (-p.accuracy, p.latency))
        best = fast[0] if rank is None else max(fast[:leaders], key=rank)
        choices.append(Choice(name, best, limit))
    return choices


def points_csv(points: Sequence[Point], space: Space,
               extra: Optional[Dict[str, Sequence[Any]]] = None) -> str:
    """Return points as comma-separated values: numbers first, then every choice.

    Args:
        points (Sequence[Point]): The points.
        space (Space): The space.
        extra (dict, optional): Further first columns by name, a value for each point.
    """
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator='\n')
    genes = [gene.name for gene in space.all_genes]
    extra = extra or {}
    writer.writerow([*extra, 'key', 'accuracy', 'latency_ms', 'memory_mb', 'params', 'flops',
                     'on_frontier', *genes])
    best = {id(point) for point in frontier(points)}
    for index, point in enumerate(points):
        writer.writerow([
            *(csv_cell(values[index]) for values in extra.values()), point.key,
            f'{point.accuracy:.4f}',
            f'{point.latency:.4f}', f'{point.memory:.3f}', point.params, point.flops,
            int(id(point) in best), *(csv_cell(point.genome[name]) for name in genes)])
    return stream.getvalue()


def read_points(path: PathLike, space: Space) -> List[Point]:
    """Read what :func:`points_csv` wrote.

    Raises:
        UserError: No such file, or it is of another space.
    """
    try:
        with open(path, newline='', encoding='utf-8') as file:
            rows = list(csv.DictReader(file))
        values = {gene.name: {str(csv_cell(value)): value for value in gene.values}
                  for gene in space.all_genes}
        return [Point({name: known[row[name]] for name, known in values.items()},
                      float(row['accuracy']), float(row['latency_ms']), float(row['memory_mb']),
                      int(row['params']), int(row['flops'])) for row in rows]
    except OSError as error:
        raise UserError(f'cannot read the points {path}: {error}') from error
    except (KeyError, ValueError) as error:
        raise UserError(f'{path} is no table of points of this space ({error}).') from error


# ---------------------------------------------------------------------- configs
_TEXT = '''# {title}
# {description}
# Predicted: {latency:.3f} ms on {target} ({precision}). An ordinary config:
#   python tools/train.py {path}
_base_ = {base}

model = dict(
{model})
'''


def config_text(point: Point, space: Space, base: str, path: PathLike, title: str,
                target: str = '', precision: str = '') -> str:
    """Return the text of a config that trains an architecture.

    Args:
        point (Point): The architecture.
        space (Space): The space.
        base (str): Config that trains a published model on the data; everything but
            architecture and input size is inherited from it.
        path (str | Path): Where it will lie: the base is named relative to it.
        title (str): First line.
        target (str): Runtime that the latency is of.
        precision (str): Its precision.
    """
    architecture = space.decode(point.genome)
    changes = model_changes(architecture)
    lines = ''.join(f'    {key}={_literal(value, 8 + len(key))},\n'
                    for key, value in changes.items())
    name = base if '::' in base else os.path.relpath(base, Path(path).absolute().parent)
    text = _TEXT.format(title=comment(title), description=_wrap(describe(point.genome)),
                        latency=point.latency, target=comment(target),
                        precision=comment(precision), path=comment(str(path)),
                        base=literal(name), model=lines)
    return text + _size_text(base, architecture)


def _wrap(text: str) -> str:
    import textwrap
    return '\n# '.join(textwrap.wrap(comment(text), 94))


def _literal(value: Any, indent: int) -> str:
    text = literal(value, width=100 - indent)
    return text.replace('\n', '\n' + ' ' * indent)


def _size_text(base: str, architecture: Architecture) -> str:
    """Return the data loaders for another input size, nothing if it is the base's."""
    cfg = load_config(base)
    size = size_name(cfg, base)
    before = {name: _datasets(cfg, name) for name in _LOADERS if cfg.get(name)}
    set_input_size(cfg, architecture['input_size'])
    after = {name: _datasets(cfg, name) for name in before}
    if before == after:
        return ''
    lines = ['', '# The pipelines of the base config, for another size.',
             f'{size} = {literal(tuple(cfg[size]))}']
    for name, dataset in after.items():
        dataset = dict(_delete_=True, **dataset)
        lines.append(f'{name} = dict(\n    dataset={_literal(dataset, 12)})')
    return '\n'.join(lines) + '\n'


_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')


def _datasets(cfg: Config, name: str) -> Dict[str, Any]:
    return Config(dict(value=cfg[name].dataset)).to_dict()['value']


def write_config(path: PathLike, point: Point, space: Space, base: str, title: str,
                 target: str = '', precision: str = '') -> Path:
    """Write a config, see :func:`config_text`, after a look whether it can be read.

    Raises:
        UserError: The base config does not fit.
    """
    path = Path(path)
    write_text(path, config_text(point, space, base, path, title, target, precision))
    cfg = load_config(str(path))
    head = 'bbox_head' if space.task == 'detection' else 'head'
    if head not in cfg.model:
        path.unlink()
        raise UserError(f'{base} is no {space.task} config of this package.')
    return path


def model_config_text(genome: Genome, space: Space) -> str:
    """Return only ``model = dict(...)``, for ``tools/finetune.py --model``."""
    from mmyolonas.search.space.architecture import model_config
    model = model_config(space.decode(genome))
    return f'# {_wrap(describe(genome))}\nmodel = {_literal(model, 8)}\n'
