"""The latency table of a model on this machine, fitted to whole plans.

A kernel's time in a profile is what it takes in that file. What a plan takes is another sum:
kernels are fused differently beside a switch, and there is overhead that no kernel owns. So
random plans are timed as wholes, in turn, and all unknowns are fitted to them together: an
intercept, the effect of each group (around what the profiles of the float and the full INT8
file say) and the prices of switching. How far the groups may move from the profiles is what
predicts left-out plans best.
"""
from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np
from scipy.optimize import lsq_linear

from mmyolonas.quantization.choice.attribution import REST, profile
from mmyolonas.quantization.choice.latency import (
    Boundaries,
    LatencyTable,
    PlanTime,
    find_boundaries,
)
from mmyolonas.quantization.choice.variants import Variants
from mmyolonas.runtime.timing import measure
from mmyolonas.utils import track

#: Plans in memory at once, beside the float file that ties the turns together.
TURN = 10
#: How strongly groups are held to their profile.
STRENGTHS = (0.03, 0.1, 0.3, 1., 3., 10.)
FOLDS = 10


def random_plans(names: Sequence[str], count: int, seed: int = 0) -> List[List[str]]:
    """Return plans of all kinds: runs, scattered groups, and full INT8 but for a few.

    Args:
        names (Sequence[str]): Groups, in order of execution.
        count (int): How many; the first is float, the second full INT8.
        seed (int): Other seeds give other plans. Defaults to 0.
    """
    rng = np.random.default_rng(seed)
    plans: List[List[str]] = [[], list(names)]
    while len(plans) < count:
        share = rng.uniform(0.05, 0.95)
        if len(plans) % 3 == 0:
            start, length = rng.integers(0, len(names)), round(share * len(names))
            chosen = {names[(start + step) % len(names)] for step in range(length)}
        elif len(plans) % 3 == 1:
            chosen = {name for name in names if rng.random() < share}
        else:
            chosen = set(names) - set(rng.choice(names, min(len(names), int(rng.integers(1, 9))),
                                                 replace=False).tolist())
        plans.append([name for name in names if name in chosen])
    return plans[:count]


def time_plans(variants: Variants, plans: Sequence[Sequence[str]], repeats: int = 15,
               title: str = 'plans') -> List[float]:
    """Return the median time of whole plans in milliseconds, measured in turn.

    Args:
        variants (Variants): Files.
        plans (Sequence[Sequence[str]]): Groups in 8 bit of each.
        repeats (int): Timed runs of each. Defaults to 15.
        title (str): Shown with the progress.
    """
    image = np.random.default_rng(0).random(variants.input_shape(), np.float32)
    reference = variants.open([])
    times: List[float] = []
    bases: List[float] = []
    spans: List[int] = []
    for start in track(range(0, len(plans), TURN), title, -(-len(plans) // TURN)):
        part = plans[start:start + TURN]
        runs: Dict[str, Any] = {'': reference}
        runs.update({str(index): variants.open(plan) for index, plan in enumerate(part)})
        found = measure(runs, image, repeats=repeats)
        bases.append(found[''].median)
        spans.append(len(part))
        times.extend(found[str(index)].median for index in range(len(part)))
    # what the machine did to the float file from turn to turn, it did to the plans
    scale = np.repeat(np.median(bases) / np.array(bases), spans)
    return [float(value) for value in np.array(times) * scale]


def measure_latency(variants: Variants, plans: int = 50, repeats: int = 15) -> LatencyTable:
    """Measure a model's groups, and the cost of switching, on this machine.

    Args:
        variants (Variants): Files.
        plans (int): Plans that are timed as wholes. Defaults to 50.
        repeats (int): Runs of each. Defaults to 15.

    Returns:
        LatencyTable: The times, with predicted and measured times of the plans.
    """
    names = variants.candidates
    profiles = profile(variants, [], repeats), profile(variants, names, repeats)
    chosen = random_plans(names, plans)
    times = time_plans(variants, chosen, repeats)
    return fit_table(names, find_boundaries(variants), profiles, chosen, times, variants.runtime)


@dataclass
class _Design:
    """The linear problem: columns are intercept, profile, groups, prices of switching."""
    rows: np.ndarray
    times: np.ndarray
    groups: int

    def solve(self, strength: float, kept: np.ndarray) -> np.ndarray:
        """Return the coefficients of a fit to some plans, errors relative to their times."""
        rows = self.rows[kept] / self.times[kept, None]
        penalty = np.zeros((self.groups, self.rows.shape[1]))
        penalty[:, 2:2 + self.groups] = np.eye(self.groups) * strength * 0.1
        low = np.full(self.rows.shape[1], -np.inf)
        low[2 + self.groups:] = 0.  # switching cannot gain time
        return lsq_linear(np.vstack([rows, penalty]),
                          np.concatenate([np.ones(len(rows)), np.zeros(self.groups)]),
                          (low, np.inf)).x


def fit_table(names: Sequence[str], boundaries: Boundaries,
              profiles: Tuple[Dict[str, float], Dict[str, float]],
              plans: Sequence[Sequence[str]], times: Sequence[float],
              target: str = '') -> LatencyTable:
    """Return the table that predicts whole plans.

    Args:
        names (Sequence[str]): Groups.
        boundaries (Boundaries): Where tensors switch.
        profiles (tuple[dict, dict]): Kernel times by group of the float and the full INT8 file.
        plans (Sequence[Sequence[str]]): Groups in 8 bit of each plan.
        times (Sequence[float]): Their times in milliseconds.
        target (str): What they were measured on.
    """
    plain, full = profiles
    gains = np.array([full.get(name, 0.) - plain.get(name, 0.) for name in names])
    widths = np.abs(gains) + 0.1 * max(float(np.abs(gains).mean()), 1e-6)
    chosen = np.array([[name in set(plan) for name in names] for plan in plans], float)
    switches = np.array([boundaries.switches(plan) for plan in plans])
    rows = np.hstack([np.ones((len(plans), 1)), (chosen @ gains)[:, None], chosen * widths,
                      switches])
    design = _Design(rows, np.asarray(times, float), len(names))
    strength, predicted = _best_strength(design)
    found = design.solve(strength, np.arange(len(times)))
    effects = found[1] * gains + found[2:2 + len(names)] * widths
    prices = [float(value) for value in found[2 + len(names):]]
    measured = sum(plain.get(name, 0.) for name in names)
    share = min(1., found[0] / max(measured + plain.get(REST, 0.), 1e-9))
    float_ms = {name: share * plain.get(name, 0.) for name in names}
    return LatencyTable(
        float_ms, {name: float_ms[name] + float(effect) for name, effect in zip(names, effects)},
        float(found[0]) - sum(float_ms.values()), prices[0], prices[1], target, prices[2],
        prices[3], [PlanTime(len(plan), float(guess), float(time))
                    for plan, guess, time in zip(plans, predicted, times)])


def _best_strength(design: _Design) -> Tuple[float, np.ndarray]:
    """Return the strength that predicts left-out plans best, and those predictions."""
    count = len(design.times)
    folds = [np.arange(start, count, FOLDS) for start in range(min(FOLDS, count))]
    best: Optional[Tuple[float, float, np.ndarray]] = None
    for strength in STRENGTHS:
        predicted = np.zeros(count)
        for fold in folds:
            kept = np.setdiff1d(np.arange(count), fold)
            predicted[fold] = design.rows[fold] @ design.solve(strength, kept)
        error = float(np.mean(np.abs(predicted / design.times - 1)))
        if best is None or error < best[0]:
            best = error, strength, predicted
    assert best is not None
    return best[1], best[2]
