"""The slope from noise to AP: random plans, each scored as a file."""
import hashlib
from pathlib import Path
from typing import Callable, List, Optional, Sequence, Tuple, Union

import numpy as np

from mmyolonas.quantization.choice.costs import Costs, PlanLoss, fit_slope
from mmyolonas.quantization.choice.known import Known
from mmyolonas.quantization.choice.noise import NoiseAnalysis
from mmyolonas.quantization.choice.plan import selection_of
from mmyolonas.quantization.choice.scoring import Score
from mmyolonas.quantization.choice.timing import random_plans
from mmyolonas.utils import track

#: Draws of images and plans behind the interval of the slope.
DRAWS = 100


def score_plans(costs: Costs, analysis: NoiseAnalysis, names: Sequence[str],
                score: Callable[[List[str]], Score], plans: int = 20,
                cache: Optional[Union[str, Path]] = None, key: str = '') -> None:
    """Score random plans and fit the slope from noise to AP, into ``costs``.

    Full INT8 is the first of them, for it is the plan that selection starts from.

    Args:
        costs (Costs): Noise of tensors and weights; gets the plans and the slope.
        analysis (NoiseAnalysis): What measured it.
        names (Sequence[str]): Groups that may be 8 bit.
        score (Callable): Return the AP of groups in 8 bit.
        plans (int): How many. Defaults to 20.
        cache (str | Path, optional): File of what was measured already.
        key (str): Of the images and the runtime of the scores.
    """
    known = Known(cache, hashlib.sha256(f'{analysis.known.key} {key}'.encode()).hexdigest())
    flow = analysis.quantised.flow
    plain = score([])
    draws = _draws(plain)
    floats = [plain.resampled(images) for images in draws]
    costs.float_ap, costs.scored_images = plain.ap, plain.images
    chosen = random_plans(names, plans + 1)[1:]
    rows: List[List[float]] = []
    for plan in track(chosen, 'AP of random plans'):
        selection = selection_of(flow, plan)

        def measure(plan: List[str] = plan, selection=selection) -> List[float]:
            found = score(plan)
            return [plain.ap - found.ap, float(np.mean(analysis.of(selection))),
                    *(before - found.resampled(images)
                      for before, images in zip(floats, draws))]

        rows.append(known.find('\n'.join(plan), measure))
        costs.plans.append(PlanLoss(len(plan), costs.noise(selection), *rows[-1][:2]))
    costs.slope = fit_slope([plan.noise for plan in costs.plans],
                            [plan.lost for plan in costs.plans], _redrawn(rows))


def _draws(score: Score) -> List[np.ndarray]:
    """Return images drawn with replacement; none where the metric has no single images."""
    rng = np.random.default_rng(0)
    return [rng.integers(0, score.images, score.images)
            for _ in range(DRAWS)] if score.images else []


def _redrawn(rows: Sequence[Sequence[float]]) -> List[Tuple[Sequence[int], Sequence[float]]]:
    """Return draws of plans, each with their losses on a draw of images."""
    rng = np.random.default_rng(1)
    found: List[Tuple[Sequence[int], Sequence[float]]] = []
    for draw in range(DRAWS):
        places = rng.integers(0, len(rows), len(rows)).tolist()
        found.append((places, [rows[place][2 + draw] if len(rows[place]) > 2 else rows[place][0]
                               for place in places]))
    return found
