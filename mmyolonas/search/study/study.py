"""Searching with optuna: NSGA-II, and random search to compare it with."""
import json
import os
from dataclasses import asdict, dataclass, field
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

import numpy as np

from mmyolonas.search.accuracy.evaluation import Point, objectives
from mmyolonas.search.accuracy.short_training import failure
from mmyolonas.search.space.encoding import Genome
from mmyolonas.search.space.space import Space, genome_key
from mmyolonas.search.study.storage import import_optuna
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.progress import track

SAMPLERS = ('nsga2', 'random')
DIRECTIONS = dict(accuracy='maximize', latency='minimize', memory='minimize')
#: Children in a row that were evaluated before until a random one is taken.
_MAX_KNOWN = 20
#: Failures in a row that are not one architecture's fault.
_MAX_FAILURES = 20


@dataclass
class SearchSettings:
    """What a search does.

    Args:
        budget (int): Architectures to evaluate, over all processes.
        sampler (str): ``'nsga2'`` or ``'random'``.
        seed (int): Seed.
        population (int): Architectures of a generation. Defaults to 32.
        names (tuple[str]): Objectives: ``'accuracy'``, ``'latency'`` and optionally
            ``'memory'``.
        max_ms (float, optional): Slower architectures count as useless.
    """
    budget: int = 300
    sampler: str = 'nsga2'
    seed: int = 0
    population: int = 32
    names: Sequence[str] = ('accuracy', 'latency')
    max_ms: Optional[float] = None


@dataclass
class Search:
    """One study: a sampler with a seed.

    Args:
        space (Space): The space.
        evaluate (Callable): Gives an architecture its :class:`Point`.
        storage (Any): Of :func:`open_storage`.
        settings (SearchSettings): What to do.
        context (dict): Plain values that the points depend on; a study that was
            begun with others is refused. The space is among them anyway.
        name (str): First part of the study's name.
    """
    space: Space
    evaluate: Callable[[Genome], Point]
    storage: Any
    settings: SearchSettings
    context: Dict[str, Any] = field(default_factory=dict)
    name: str = 'search'

    def __post_init__(self) -> None:
        if self.settings.sampler not in SAMPLERS:
            raise UserError(f'unknown sampler {self.settings.sampler!r}; choose one of '
                            f'{", ".join(SAMPLERS)}.')
        optuna = import_optuna()
        self._optuna = optuna
        self._distributions = {
            gene.name: optuna.distributions.CategoricalDistribution(gene.values)
            for gene in self.space.genes}
        self.study_name = f'{self.name}-{self.settings.sampler}-{self.settings.seed}'
        self.study = optuna.create_study(
            study_name=self.study_name, storage=self.storage, load_if_exists=True,
            directions=[DIRECTIONS[name] for name in self.settings.names])
        self._check_context()
        # of this process: a process that goes on must not repeat what it drew before
        drawn = len(self.study.get_trials(deepcopy=False))
        self._rng = np.random.default_rng((self.settings.seed, drawn, os.getpid() if drawn else 0))
        self.study.sampler = self._sampler(int(self._rng.integers(1 << 31)))
        self._failures = 0
        self._seen = {genome_key(self._genome(t.params)) for t in self._complete()}

    def _check_context(self) -> None:
        """Note what the study is about, or refuse another one."""
        context = json.loads(json.dumps(dict(
            self.context, space=self.space.fingerprint, objectives=list(self.settings.names),
            max_ms=self.settings.max_ms)))
        before = self.study.user_attrs.get('context')
        if before is None:
            self.study.set_user_attr('context', context)
            return
        differ = sorted(key for key in {*before, *context} if before.get(key) != context.get(key))
        if 'space' in differ:
            raise UserError(
                f'study {self.study_name} is of another space ({before.get("space")}, this is '
                f'{context["space"]}): its architectures mean something else here. Give another '
                '--storage or --name.')
        if differ:
            changes = ', '.join(f'{key} {before.get(key)} (now {context.get(key)})'
                                for key in differ)
            raise UserError(f'study {self.study_name} was begun with other settings: {changes}. '
                            'Give another --storage or --name.')

    # ------------------------------------------------------------------ sampling
    def _sampler(self, seed: int) -> Any:
        samplers = self._optuna.samplers
        if self.settings.sampler == 'random':
            return samplers.RandomSampler(seed=seed)
        import warnings
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', self._optuna.exceptions.ExperimentalWarning)
            return samplers.NSGAIISampler(
                population_size=self.settings.population, seed=seed,
                child_generation_strategy=self._child)

    def _child(self, study: Any, _: dict, parents: List[Any]) -> Genome:
        """Return a new architecture from parents that won a comparison each."""
        for _ in range(_MAX_KNOWN):
            first, second = self._winner(parents), self._winner(parents)
            child = self._genome(first.params)
            if self._rng.random() < 0.9:
                child = self.space.crossover(child, self._genome(second.params), self._rng)
            child = self.space.mutate(child, self._rng)
            if genome_key(child) not in self._seen:
                return child
        return self.space.sample_genome(self._rng)

    def _winner(self, parents: List[Any]) -> Any:
        left, right = (parents[i] for i in self._rng.integers(len(parents), size=2))
        signs = [1 if DIRECTIONS[name] == 'minimize' else -1 for name in self.settings.names]
        a, b = ([s * v for s, v in zip(signs, trial.values)] for trial in (left, right))
        return right if all(y <= x for x, y in zip(a, b)) else left

    def _genome(self, params: Dict[str, Any]) -> Genome:
        return {gene.name: params[gene.name] for gene in self.space.genes}

    # ------------------------------------------------------------------- running
    def _complete(self) -> List[Any]:
        state = self._optuna.trial.TrialState.COMPLETE
        return self.study.get_trials(deepcopy=False, states=[state])

    def _remaining(self) -> Iterator[int]:
        while (left := self.settings.budget - len(self._complete())) > 0:
            yield left

    def run(self) -> List[Point]:
        """Evaluate until the budget is spent; other processes count.

        Returns:
            list[Point]: All that was evaluated, in order.
        """
        left = max(self.settings.budget - len(self._complete()), 0)
        for _ in track(self._remaining(), self.study_name, total=left):
            self._step()
        return self.points()

    def _step(self) -> None:
        trial = self.study.ask(self._distributions)
        genome = self._genome(trial.params)
        try:
            point = self.evaluate(genome)
        except (MemoryError, RuntimeError) as error:
            reason = failure(error)
            self.study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            if reason is None:
                raise
            print(f'  trial {trial.number} failed: {reason}', flush=True)
            self._failures += 1
            if self._failures >= _MAX_FAILURES:
                raise UserError(f'{_MAX_FAILURES} architectures in a row failed: {reason}. Take '
                                'smaller input sizes, or a machine with more memory.') from error
            return
        except BaseException:
            self.study.tell(trial, state=self._optuna.trial.TrialState.FAIL)
            raise
        self._failures = 0
        trial.set_user_attr('point', {k: v for k, v in asdict(point).items() if k != 'genome'})
        self.study.tell(trial, self._values(point))
        self._seen.add(genome_key(genome))

    def _values(self, point: Point) -> List[float]:
        values = objectives([point], self.settings.names)[0]
        if self.settings.max_ms is not None and point.latency > self.settings.max_ms:
            # worse than anything in accuracy, and the worse the slower
            place = list(self.settings.names).index('accuracy')
            values[place] = point.latency - self.settings.max_ms + 1e6
        return [-v if DIRECTIONS[name] == 'maximize' else v
                for name, v in zip(self.settings.names, values)]

    def points(self) -> List[Point]:
        """Return what was evaluated within the budget, in order."""
        trials = sorted(self._complete(), key=lambda trial: trial.number)
        return [Point(self._genome(trial.params), **trial.user_attrs['point'])
                for trial in trials[:self.settings.budget]]
