"""The space of architectures: counting, drawing, changing and crossing its points."""
import difflib
import fnmatch
import hashlib
import json
import math
from typing import Dict, List, Mapping, Optional, Sequence, Tuple

import numpy as np

from mmyolonas.search.space.encoding import Architecture, Genome, decode, encode
from mmyolonas.search.space.space_table import INPUT_SIZES, PUBLISHED, TABLES, TRUNK, Gene, Value
from mmyolonas.utils.errors import UserError


class Space:
    """All architectures of a task; see :mod:`mmyolonas.search.space.space_table`.

    Args:
        task (str): ``'detection'`` or ``'pose'``. Defaults to ``'detection'``.
        input_sizes (Sequence[int]): Sides of the square network input that may be
            chosen, multiples of 32. Defaults to 320, 416, 512 and 640.
        fix (Mapping, optional): Values that are left, by name of the gene or pattern
            (``'*.attention'``); as text, several separated by commas.
        max_arch (str, optional): Published model; numbers beyond its own (but the
            input size) are left out. Choices by name, such as concatenation, stay.
        trunk (str, optional): Published model whose backbone and neck every
            architecture has, so that only the head is searched.

    Attributes:
        genes (tuple[Gene]): The table of what is searched.
        all_genes (tuple[Gene]): The same without restrictions: published models are
            points of it even where the search may not choose them.

    Raises:
        UserError: Unknown task, a size that does not fit, or a restriction that names
            no gene or leaves no value.
    """

    def __init__(self, task: str = 'detection', input_sizes: Sequence[int] = INPUT_SIZES,
                 fix: Optional[Mapping[str, str]] = None, max_arch: Optional[str] = None,
                 trunk: Optional[str] = None) -> None:
        if task not in TABLES:
            raise UserError(f'unknown task {task!r}; choose one of {", ".join(TABLES)}.')
        sizes = tuple(sorted(set(map(int, input_sizes))))
        if not sizes or min(sizes) < 64 or any(size % 32 for size in sizes):
            raise UserError('input sizes are multiples of 32, at least 64, got '
                            f'{", ".join(map(str, input_sizes)) or "none"}.')
        self.task = task
        self.trunk = trunk
        self.genes = self.all_genes = (*TABLES[task], Gene('input_size', sizes))
        self._genes = {gene.name: gene for gene in self.all_genes}
        if max_arch is not None:
            largest = self.published(max_arch)
            self._keep({gene.name: tuple(v for v in gene.values if v <= largest[gene.name])
                        for gene in self.genes if gene.ordered and gene.name != 'input_size'})
        if trunk is not None:
            parts = self.published(trunk)
            self._keep({gene.name: (parts[gene.name], ) for gene in TRUNK})
        self._keep(fixed_values(self.all_genes, fix or {}))

    def _keep(self, values: Dict[str, Tuple[Value, ...]]) -> None:
        """Leave only some values of some genes."""
        kept = []
        for gene in self.genes:
            left = tuple(v for v in gene.values if v in values.get(gene.name, gene.values))
            if not left:
                raise UserError(f'the restrictions leave no value for {gene.name}: it may be '
                                f'{", ".join(map(str, gene.values))}, asked for is '
                                f'{", ".join(map(str, values[gene.name]))}.')
            kept.append(Gene(gene.name, left))
        self.genes = tuple(kept)

    def contains(self, genome: Genome) -> bool:
        """Whether the search may choose an architecture."""
        return all(genome[gene.name] in gene.values for gene in self.genes)

    def largest(self) -> Genome:
        """Return the last value of every choice: every other architecture is a part of it."""
        return {gene.name: gene.values[-1] for gene in self.genes}

    def smallest(self) -> Genome:
        """Return the first value of every choice."""
        return {gene.name: gene.values[0] for gene in self.genes}

    @property
    def input_sizes(self) -> Sequence[int]:
        """tuple[int]: Sides of the input that may be chosen."""
        return self._genes['input_size'].values

    @property
    def size(self) -> int:
        """int: Number of architectures, exactly."""
        return math.prod(len(gene.values) for gene in self.genes)

    @property
    def fingerprint(self) -> str:
        """str: Changes with any name or value of the table."""
        text = json.dumps([self.task, [[gene.name, gene.values] for gene in self.genes]])
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    # ------------------------------------------------------------ between forms
    def encode(self, architecture: Architecture) -> Genome:
        """Return the genome of an architecture.

        Raises:
            UserError: It is no point of this space.
        """
        return self.check(encode(architecture))

    def decode(self, genome: Genome) -> Architecture:
        """Return the tables of an architecture; see :mod:`mmyolonas.search.space.encoding`."""
        return decode(self.check(genome), self.task)

    def check(self, genome: Genome) -> Genome:
        """Return a genome, its genes in order.

        Raises:
            UserError: A gene is missing, unknown, or has a value outside the table; a
                restriction of the search is no reason.
        """
        if set(genome) != set(self._genes):
            odd = sorted(set(genome) ^ set(self._genes))
            raise UserError(f'not an architecture of this space: it differs in {", ".join(odd)}.')
        for gene in self.all_genes:
            if genome[gene.name] not in gene.values:
                raise UserError(f'not an architecture of this space: {gene.name} is '
                                f'{genome[gene.name]}, it may be '
                                f'{", ".join(map(str, gene.values))}.')
        return {gene.name: genome[gene.name] for gene in self.genes}

    def published(self, name: str, input_size: Optional[int] = None) -> Genome:
        """Return the genome of a published model.

        Args:
            name (str): ``'s'``, ``'m'``, ``'l'``, for poses also ``'n'``.
            input_size (int, optional): Side of the input; the largest if None.
        """
        if name not in PUBLISHED[self.task]:
            raise UserError(f'no published {self.task} model is called {name!r}; there are '
                            f'{", ".join(PUBLISHED[self.task])}.')
        from mmyolonas.models.backbones import YOLONASBackbone
        from mmyolonas.models.dense_heads import YOLONASHead
        from mmyolonas.models.necks import YOLONASPAN
        if self.task == 'detection':
            head = YOLONASHead.arch_settings
        else:
            from mmyolonas.models.pose_heads import YOLONASPoseHead
            head = YOLONASPoseHead.arch_settings
        return self.encode(dict(
            task=self.task, backbone=YOLONASBackbone.arch_settings[name],
            neck=YOLONASPAN.arch_settings[name], head=head[name],
            input_size=input_size or self.input_sizes[-1]))

    # ---------------------------------------------------------------- operators
    def sample(self, rng: np.random.Generator) -> Architecture:
        """Return the tables of an architecture drawn uniformly."""
        return self.decode(self.sample_genome(rng))

    def sample_genome(self, rng: np.random.Generator) -> Genome:
        """Return a genome drawn uniformly."""
        return {gene.name: gene.values[rng.integers(len(gene.values))] for gene in self.genes}

    def mutate(self, genome: Genome, rng: np.random.Generator, rate: Optional[float] = None,
               jump: float = 0.3) -> Genome:
        """Return a genome that differs from another in at least one gene.

        A number moves to a neighbouring value; with probability ``jump``, and
        always where values have no order, another value is drawn.

        Args:
            genome (dict): The parent; not changed.
            rng (Generator): Source of randomness.
            rate (float, optional): Probability of each gene to change; None for
                two genes of all on average.
            jump (float): Probability that any other value is drawn. Defaults to 0.3.
        """
        rate = 2 / len(self.genes) if rate is None else rate
        chosen = rng.random(len(self.genes)) < rate
        chosen |= np.arange(len(self.genes)) == (-1 if chosen.any() else self._movable(rng))
        child = dict(genome)
        for gene, change in zip(self.genes, chosen):
            if not change or len(gene.values) < 2:
                continue
            place = gene.values.index(genome[gene.name])
            others = [i for i in range(len(gene.values)) if i != place]
            if gene.ordered and rng.random() >= jump:
                others = [i for i in others if abs(i - place) == 1]
            child[gene.name] = gene.values[others[rng.integers(len(others))]]
        return child

    def _movable(self, rng: np.random.Generator) -> int:
        return int(rng.choice([i for i, gene in enumerate(self.genes) if len(gene.values) > 1]))

    def crossover(self, first: Genome, second: Genome, rng: np.random.Generator) -> Genome:
        """Return a genome whose every part comes from one of two parents.

        The genes of a stage belong together (its width suits its depth): half of
        the time parts are handed down whole, otherwise gene by gene.
        """
        whole = rng.random() < 0.5
        side: dict = {}
        for gene in self.genes:
            part = gene.name.partition('.')[0] if whole else gene.name
            side.setdefault(part, rng.random() < 0.5)
        return {gene.name: (first if side[gene.name.partition('.')[0] if whole else gene.name]
                            else second)[gene.name] for gene in self.genes}

    # ------------------------------------------------------------------ numbers
    def vector(self, genome: Genome) -> np.ndarray:
        """Return a genome as numbers within 0..1: places of numbers, indicators of names."""
        values: List[float] = []
        for gene in self.all_genes:
            place = gene.values.index(genome[gene.name])
            if gene.ordered:
                values.append(place / max(len(gene.values) - 1, 1))
            else:
                # booleans and pairs of names need one number
                values += [float(place == i) for i in range(1, len(gene.values))]
        return np.array(values)


def genome_key(genome: Genome) -> str:
    """Return a short name of an architecture, the same on every machine."""
    text = json.dumps(sorted(genome.items()))
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def fixed_values(genes: Sequence[Gene],
                 fix: Mapping[str, str]) -> Dict[str, Tuple[Value, ...]]:
    """Return what ``GENE=VALUE`` leaves of each gene it names.

    Args:
        genes (Sequence[Gene]): The table.
        fix (Mapping): Values by name or pattern, as text, several separated by commas.

    Raises:
        UserError: No gene has the name, or none of its values is meant.
    """
    found: Dict[str, Tuple[Value, ...]] = {}
    for name, text in fix.items():
        matching = [gene for gene in genes if fnmatch.fnmatchcase(gene.name, name)]
        if not matching:
            near = difflib.get_close_matches(name, [gene.name for gene in genes], 3, 0.4)
            hint = f' Did you mean {", ".join(near)}?' if near else ''
            raise UserError(f'the space has no choice called {name!r}.{hint}')
        wanted = [part.strip() for part in str(text).split(',')]
        for gene in matching:
            named = {str(value).lower(): value for value in gene.values}
            odd = [part for part in wanted if part.lower() not in named]
            if odd:
                raise UserError(f'{gene.name} cannot be {", ".join(odd)}; it may be '
                                f'{", ".join(map(str, gene.values))}.')
            found[gene.name] = tuple(named[part.lower()] for part in wanted)
    return found
