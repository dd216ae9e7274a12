"""The folder of a search: what it is about, and where its parts lie."""
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence

import numpy as np
from filelock import FileLock

from mmyolonas.search.accuracy.evaluation import structure
from mmyolonas.search.accuracy.recipe import Recipe
from mmyolonas.search.accuracy.short_training import Task, Training, TrainingLog
from mmyolonas.search.space.encoding import Genome
from mmyolonas.search.space.space import Space
from mmyolonas.search.space.space_table import INPUT_SIZES, PUBLISHED
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import PathLike, read_json, write_json
from mmyolonas.utils.progress import track
from mmyolonas.utils.typed import build

#: Architectures of a sample that are chosen from one pool of drawn ones, and how many are
#: drawn for each.
_BLOCK, _DRAWN = 40, 4
_FILE = 'search.json'


@dataclass
class Settings:
    """What a search is about; kept in ``search.json`` of its folder.

    Args:
        recipe (str): Config of the short trainings.
        cfg_options (dict): Settings of the recipe to override.
        input_sizes (list[int]): Sides of the network input that may be chosen.
        max_size (float): Largest FLOPs of an architecture that is trained, in
            multiples of published S's.
        seed (int): Seed of the architectures that are trained.
        fix (dict): Values that genes are limited to; see :class:`Space`.
        max_arch (str, optional): Published model that limits all numbers.
        trunk (str, optional): Published model whose backbone and neck are kept.
    """
    recipe: str
    cfg_options: Dict[str, Any] = field(default_factory=dict)
    input_sizes: Sequence[int] = INPUT_SIZES
    max_size: float = 3.
    seed: int = 0
    fix: Dict[str, str] = field(default_factory=dict)
    max_arch: Optional[str] = None
    trunk: Optional[str] = None


def _check_settings(values: Dict[str, Any]) -> Dict[str, Any]:
    return asdict(build(Settings, values))


class Project:
    """Everything that lies in the folder of a search.

    Args:
        folder (str | Path): The folder.
        settings (Settings): What the search is about.
    """

    def __init__(self, folder: PathLike, settings: Settings) -> None:
        self.folder = Path(folder)
        self.settings = settings
        self.recipe = Recipe(settings.recipe, settings.cfg_options or None)
        self.space = Space(self.recipe.task, settings.input_sizes, settings.fix,
                           settings.max_arch, settings.trunk)

    @classmethod
    def open(cls, folder: PathLike, **given: Any) -> 'Project':
        """Open a folder, or begin one.

        Args:
            folder (str | Path): The folder.
            **given: Fields of :class:`Settings`; None for what the folder says.

        Raises:
            UserError: It is begun and holds a search with other settings.
        """
        path = Path(folder) / _FILE
        given = {key: value for key, value in given.items() if value is not None}
        if path.is_file():
            kept = read_json(path, 'the settings of a search', check=_check_settings,
                             advice='Give another folder.')
            given = json.loads(json.dumps(given))
            differ = [f'{key} {kept[key]} (given: {value})' for key, value in given.items()
                      if kept[key] != value]
            if differ:
                raise UserError(f'{folder} holds a search with another {", ".join(differ)}. Leave '
                                'the option out or give another --work-dir.')
            return cls(folder, Settings(**kept))
        if 'recipe' not in given:
            raise UserError(f'{folder} holds no search yet; begin one with --recipe CONFIG.')
        project = cls(folder, Settings(**given))
        write_json(path, asdict(project.settings))
        return project

    def path(self, *parts: str) -> Path:
        """Return a path in the folder."""
        return self.folder.joinpath(*parts)

    def published(self) -> Dict[str, Genome]:
        """Return the published models at the largest input size, by name."""
        return {name: self.space.published(name) for name in PUBLISHED[self.space.task]}

    # ------------------------------------------------------------ what to train
    def sample(self, count: int) -> List[Genome]:
        """Return architectures to be trained, spread evenly over the logarithm of FLOPs.

        Drawn uniformly, up to ``max_size``, most architectures would be alike. A
        smaller sample is the beginning of a larger one, so that what was trained for
        it counts. They are kept in ``sample.json``.
        """
        path = self.path('sample.json')
        with FileLock(f'{path}.lock'):
            kept = read_json(path, 'a sample of architectures', list) if path.is_file() else []
            before = len(kept)
            while len(kept) < count:
                kept += self._block(len(kept) // _BLOCK)
            if len(kept) > before:
                write_json(path, kept)
        return [self.space.check(genome) for genome in kept[:count]]

    def _block(self, number: int) -> List[Genome]:
        """Return the next architectures of the sample, any first of which are spread."""
        rng = np.random.default_rng((self.settings.seed, number))
        small = PUBLISHED[self.space.task][0]
        classes = self.recipe.num_classes
        limit = self.settings.max_size * structure(
            self.space, self.space.published(small), classes, scores=False).flops
        drawn: Dict[float, Genome] = {}
        for _ in track(range(_DRAWN * _BLOCK), 'drawing architectures'):
            genome = self.space.sample_genome(rng)
            flops = structure(self.space, genome, classes, scores=False).flops
            if flops <= limit:
                drawn[float(flops)] = genome
        if len(drawn) < _BLOCK:
            raise UserError(f'only {len(drawn)} of {_DRAWN * _BLOCK} drawn architectures have less '
                            f'than {self.settings.max_size} times the FLOPs of published '
                            f'{small.upper()}; raise --max-size.')
        flops = np.array(sorted(drawn))
        low, high = np.log(flops[0]), np.log(flops[-1])
        free = list(range(len(flops)))
        chosen = []
        for place in range(_BLOCK):
            value = low + _van_der_corput(place + 1) * (high - low)
            nearest = min(free, key=lambda i: abs(np.log(flops[i]) - value))
            free.remove(nearest)
            chosen.append(drawn[float(flops[nearest])])
        return chosen

    def tasks(self, count: int, published: Sequence[str] = (), seeds: int = 1) -> List[Task]:
        """Return the trainings of a sample and of published models, seed after seed."""
        models = self.published()
        found = [(genome, 'random') for genome in self.sample(count)]
        found += [(models[name], f'published {name}') for name in published]
        return [Task(genome, seed, origin) for seed in range(seeds) for genome, origin in found]

    # ---------------------------------------------------------- what was trained
    def trainings(self, origin: Optional[str] = None) -> List[Training]:
        """Return the successful trainings by the recipe, of one origin if given."""
        found = TrainingLog.read(self.folder).of_recipe(self.recipe.fingerprint)
        return [t for t in found if origin is None or t.origin.split(' ')[0] == origin]


def _van_der_corput(number: int) -> float:
    """Return a term of the sequence whose every beginning fills 0..1 evenly (base 2)."""
    value, unit = 0., 0.5
    while number:
        number, bit = divmod(number, 2)
        value, unit = value + bit * unit, unit / 2
    return value
