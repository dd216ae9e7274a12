"""How much each rung of the ladder is worth: rank correlation with real short trainings."""
import itertools
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import numpy as np
import torch

from mmyolonas.search.accuracy.evaluation import BASE_LINES, Predictor, structure
from mmyolonas.search.accuracy.recipe import Recipe
from mmyolonas.search.accuracy.scores import SCORES, ScoreData, score_data
from mmyolonas.search.accuracy.surrogate import Surrogate, cross_validate
from mmyolonas.search.space.architecture import build
from mmyolonas.search.space.encoding import Genome
from mmyolonas.search.space.space import Space, genome_key
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import PathLike
from mmyolonas.utils.journal import Journal
from mmyolonas.utils.progress import track

FORMAT = 'mmyolonas-scores/1'
#: Fewer trainings than this say nothing about a rung.
MIN_TRAININGS = 10
_FOLD_SEEDS = 5
_SCORE_BATCH, _SCORE_BATCHES = 8, 2


@dataclass
class Rung:
    """One way to tell architectures apart before they are trained.

    Args:
        name (str): Name.
        kind (str): ``'base line'``, ``'score'`` or ``'model'`` (cross-validated).
        tau (float): Kendall's rank correlation with the accuracy after training.
        low (float): Lower end of its 95 % bootstrap interval.
        high (float): Upper end.
        seconds (float): Processor time for each architecture.
        used (bool): Whether the search uses it.
    """
    name: str
    kind: str
    tau: float
    low: float
    high: float
    seconds: float
    used: bool = False


def kendall(left: Sequence[float], right: Sequence[float]) -> float:
    """Return Kendall's tau-b, 0 where one side is constant."""
    from scipy.stats import kendalltau
    tau = float(kendalltau(left, right).statistic)
    return 0. if np.isnan(tau) else tau


def bootstrap_tau(left: Sequence[float], right: Sequence[float], draws: int = 500,
                  seed: int = 0) -> Tuple[float, float]:
    """Return the 95 % interval of Kendall's tau over architectures drawn with replacement."""
    left, right = np.asarray(left), np.asarray(right)
    rng = np.random.default_rng(seed)
    places = rng.integers(len(left), size=(draws, len(left)))
    taus = [kendall(left[rows], right[rows]) for rows in places]
    low, high = np.percentile(taus, (2.5, 97.5))
    return float(low), float(high)


class ScoreKeeper:
    """Computes scores that need weights, and keeps them in a file.

    Args:
        space (Space): The space.
        recipe (Recipe): Its images are what the scores look at.
        path (str | Path): Journal.
        seed (int): Seed of the weights.
    """

    def __init__(self, space: Space, recipe: Recipe, path: PathLike, seed: int = 0) -> None:
        self.space, self.recipe, self.path, self.seed = space, recipe, Path(path), seed
        self._data: Dict[int, ScoreData] = {}

    def compute(self, genomes: Sequence[Genome],
                names: Sequence[str]) -> Dict[str, Dict[str, Tuple[float, float]]]:
        """Return value and seconds of each score of each architecture, by key and name."""
        found: Dict[str, Dict[str, Tuple[float, float]]] = {}
        header = dict(format=FORMAT, recipe=self.recipe.fingerprint, seed=self.seed)
        with Journal(self.path, header) as journal:
            for line in journal:
                if not isinstance(line, list) or len(line) != 4:
                    continue
                key, name, value, seconds = line
                found.setdefault(key, {})[name] = (value, seconds)
            todo = [genome for genome in genomes
                    if set(names) - set(found.get(genome_key(genome), ()))]
            for genome in track(todo, 'training-free scores'):
                key = genome_key(genome)
                for name in sorted(set(names) - set(found.get(key, ()))):
                    value, seconds = self._score(genome, name)
                    journal.write([key, name, value, seconds])
                    found.setdefault(key, {})[name] = (value, seconds)
        return found

    def _score(self, genome: Genome, name: str) -> Tuple[float, float]:
        data = self._batches(genome['input_size'], genome)
        start = time.process_time()
        torch.manual_seed(self.seed)
        model = build(self.space.decode(genome), self.recipe.num_classes)
        value = SCORES[name].compute(model, data)
        return float(value), time.process_time() - start

    def _batches(self, size: int, genome: Genome) -> ScoreData:
        if size not in self._data:
            from mmengine.registry import init_default_scope
            from mmengine.runner import Runner
            cfg = self.recipe.config(self.space.decode(genome))
            init_default_scope(cfg.get('default_scope', 'mmdet'))
            loader = cfg.train_dataloader
            loader.update(batch_size=_SCORE_BATCH, num_workers=0, persistent_workers=False)
            loader.sampler.shuffle = False
            built = Runner.build_dataloader(loader, seed=self.seed)
            if len(built.dataset) < _SCORE_BATCHES * _SCORE_BATCH:  # a very small data set
                loader.batch_size = max(1, len(built.dataset) // _SCORE_BATCHES)
                built = Runner.build_dataloader(loader, seed=self.seed)
            batches = itertools.cycle(built)
            model = build(self.space.decode(genome), self.recipe.num_classes)
            torch.manual_seed(self.seed)
            np.random.seed(self.seed)
            self._data[size] = score_data(batches, model.data_preprocessor,
                                          _SCORE_BATCHES)
        return self._data[size]


@dataclass
class Ladder:
    """All rungs, and what the search predicts accuracy with.

    Args:
        rungs (list[Rung]): Base lines, scores, models.
        predictor (Predictor): The best model, or of the base lines alone.
        trainings (int): Number of architectures.
        noise (float, optional): Kendall's tau between trainings of the same
            architectures with different seeds: no rung can reach more.
    """
    rungs: List[Rung]
    predictor: Predictor
    trainings: int
    noise: Optional[float] = None

    def rows(self) -> List[dict]:
        """Return the rungs as plain values."""
        return [asdict(rung) for rung in self.rungs]


def judge(space: Space, genomes: Sequence[Genome], accuracy: Sequence[float], num_classes: int,
          scores: Optional[Dict[str, Dict[str, Tuple[float, float]]]] = None) -> Ladder:
    """Correlate all rungs with trainings and choose what the search uses.

    A score is used if its tau exceeds that of the number of parameters and that of
    FLOPs. The surrogate of choices and used scores is used if, cross-validated, it
    exceeds them and the model of the two base lines; otherwise that model is.

    Args:
        space (Space): The space.
        genomes (Sequence[dict]): What was trained.
        accuracy (Sequence[float]): Points of AP it reached.
        num_classes (int): Classes, or key points.
        scores (dict, optional): Scores that need weights, of :class:`ScoreKeeper`.

    Raises:
        UserError: Too few trainings.
    """
    if len(genomes) < MIN_TRAININGS:
        raise UserError(f'{len(genomes)} trained architectures say nothing about a rung; train '
                        f'at least {MIN_TRAININGS}.')
    target = np.asarray(accuracy, float)
    start = time.process_time()
    rows = [dict(structure(space, genome, num_classes).numbers) for genome in genomes]
    free_seconds = (time.process_time() - start) / len(genomes)
    seconds = dict.fromkeys(rows[0], free_seconds)
    for genome, row in zip(genomes, rows):
        for name, (value, spent) in (scores or {}).get(genome_key(genome), {}).items():
            row[name] = value
            seconds[name] = seconds.get(name, 0.) + spent / len(genomes)
    names = [name for name in rows[0] if all(name in row for row in rows)]
    columns = {name: np.array([row[name] for row in rows]) for name in names}

    def rung(name: str, kind: str, values: np.ndarray) -> Rung:
        return Rung(name, kind, kendall(values, target), *bootstrap_tau(values, target),
                    seconds.get(name, free_seconds))

    rungs = [rung(name, 'base line' if name in BASE_LINES else 'score', columns[name])
             for name in names]
    bar = max(r.tau for r in rungs if r.kind == 'base line')
    better = [r.name for r in rungs if r.kind == 'score' and r.tau > bar]
    models = _models(space, genomes, columns, target, better, rung)
    best = max(models, key=lambda pair: pair[0].tau)
    if best[0].tau <= bar:
        best = models[0]
    best[0].used = True
    for found in rungs:
        found.used = found.name in best[1].names
    return Ladder([*rungs, *(model for model, _ in models)], best[1], len(genomes))


def _models(space: Space, genomes: Sequence[Genome], columns: Dict[str, np.ndarray],
            target: np.ndarray, used: List[str],
            rung: Callable[..., Rung]) -> List[Tuple[Rung, Predictor]]:
    """Return the models with their cross-validated rungs, that of the base lines first."""
    vectors = np.stack([space.vector(genome) for genome in genomes])
    nothing = vectors[:, :0]
    wanted = [('size model', list(BASE_LINES), nothing)]
    if used:
        wanted.append(('size and scores model', [*BASE_LINES, *used], nothing))
    wanted.append(('surrogate', [*BASE_LINES, *used], vectors))
    found = []
    for name, names, choices in track(wanted, 'cross-validation'):
        wholes = np.stack([columns[n] for n in names], 1)
        folds = [cross_validate(wholes, choices, target, seed=seed)
                 for seed in range(_FOLD_SEEDS)]
        row = rung(name, 'model', np.mean(folds, 0))
        # of single partitions: their mean has seen more than each
        row.tau = float(np.mean([kendall(fold, target) for fold in folds]))
        model = Surrogate(wholes, choices, target)
        found.append((row, Predictor(model, names, choices.shape[1] > 0, row.tau)))
    return found
