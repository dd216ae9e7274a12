"""What 8 bit costs in accuracy, group by group, on the exported file."""
import hashlib
import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Sequence, Union

import numpy as np

from mmyolonas.quantization.choice.scoring import Scorer
from mmyolonas.quantization.choice.variants import Variants
from mmyolonas.utils import UserError, track, write_json
from mmyolonas.utils.files import read_json
from mmyolonas.utils.typed import build

FULL = 'all'


@dataclass
class GroupScore:
    """Cost of one group.

    Args:
        sqnr (float): Signal to noise of the outputs if it alone is 8 bit, in dB;
            that of the worse output.
        kl (float): Divergence of the class scores if it alone is 8 bit, mean per
            image, in nats.
        ap_in (float, optional): Points of AP lost if it alone is 8 bit.
        ap_out (float, optional): Points of AP regained if it alone stays float.
    """
    sqnr: float
    kl: float
    ap_in: Optional[float] = None
    ap_out: Optional[float] = None


@dataclass
class Sensitivity:
    """Costs of all groups.

    Args:
        groups (dict[str, GroupScore]): By name.
        float_ap (float, optional): AP in float.
        full_ap (float, optional): AP in full INT8.
        full_sqnr (float): Signal to noise in full INT8, in dB.
    """
    groups: Dict[str, GroupScore]
    float_ap: Optional[float] = None
    full_ap: Optional[float] = None
    full_sqnr: float = float('nan')

    def losses(self) -> Dict[str, float]:
        """Return the points of AP that each group is held to cost.

        The loss of full INT8 is shared out by the noise that a group alone
        brings into the outputs. Where AP was measured group by group, the
        result is the mean of that share and of what was measured (one in and
        one out, not below 0): on few images the AP of a single group is mostly
        chance, and the share keeps it in check.
        """
        noise = {name: 10 ** (-score.sqnr / 10) for name, score in self.groups.items()}
        total = sum(noise.values()) or 1.
        loss = 1.
        if self.float_ap is not None and self.full_ap is not None:
            loss = max(self.float_ap - self.full_ap, 0.05)
        result = {}
        for name, score in self.groups.items():
            share = loss * noise[name] / total
            known = [x for x in (score.ap_in, score.ap_out) if x is not None]
            result[name] = (share + max(float(np.mean(known)), 0)) / 2 if known else share
        return result

    def save(self, path: Union[str, Path], key: str = '') -> None:
        """Write the costs as JSON, atomically."""
        write_json(path, dict(key=key, **asdict(self)))

    @classmethod
    def load(cls, path: Union[str, Path], names: Optional[Sequence[str]] = None) -> 'Sensitivity':
        """Read what :meth:`save` wrote.

        What 8 bit costs in accuracy does not depend on the runtime (its
        spellings mean the same numbers), so one analysis serves all of them.

        Args:
            path (str | Path): File.
            names (Sequence[str], optional): Groups it must be of.

        Raises:
            UserError: No such file, it is no analysis, or of another model.
        """
        result = read_json(path, 'an analysis of tools/quantize.py',
                           check=lambda data: build(cls, data, ignore=True))
        if names is not None and set(result.groups) != set(names):
            other = sorted(set(result.groups) ^ set(names))
            raise UserError(f'{path} is the analysis of another model: {other[0]} is in one of '
                            'them only.')
        return result


def signal_to_noise(reference: Sequence[np.ndarray], outputs: Sequence[np.ndarray]) -> float:
    """Return the signal to noise ratio in dB of the worse of several outputs."""
    ratios = []
    for want, got in zip(reference, outputs):
        want, got = np.asarray(want, np.float64), np.asarray(got, np.float64)
        noise = float(((want - got) ** 2).sum())
        ratios.append(10 * np.log10(max(float((want ** 2).sum()), 1e-30) / max(noise, 1e-30)))
    return float(min(ratios))


def score_divergence(reference: np.ndarray, scores: np.ndarray) -> float:
    """Return the Kullback-Leibler divergence of class scores, summed over priors.

    Args:
        reference (ndarray): Float scores within [0, 1]; each is the chance of a
            class being there.
        scores (ndarray): Scores in 8 bit.
    """
    p = np.clip(np.asarray(reference, np.float64), 1e-7, 1 - 1e-7)
    q = np.clip(np.asarray(scores, np.float64), 1e-7, 1 - 1e-7)
    return float((p * np.log(p / q) + (1 - p) * np.log((1 - p) / (1 - q))).sum())


def _check_known(data: Dict[str, Any]) -> Dict[str, Any]:
    known = data.get('known', {})
    for name, values in known.items():
        if not name.endswith(('cheap', 'ap', 'in', 'out')) or not all(
                isinstance(value, (int, float)) for value in values.values()):
            raise ValueError(f'{name} holds something else')
    return dict(data, known=known)


class SensitivityAnalysis:
    """Measure the groups, keeping what is done in a file.

    Args:
        variants (Variants): Files with some groups in 8 bit.
        images (list[ndarray]): Network inputs for the cheap scores.
        scorer (Scorer, optional): For AP; without it only the cheap scores.
        cache (str | Path, optional): JSON file; an interrupted analysis goes on
            from it, a finished one is read from it. It is begun anew if model,
            ranges or images have changed.
        measure_groups (bool): Whether to measure AP of each group (one in, one
            out) besides that of float and full INT8. Defaults to True.
    """

    def __init__(self, variants: Variants, images: List[np.ndarray],
                 scorer: Optional[Scorer] = None, cache: Optional[Union[str, Path]] = None,
                 measure_groups: bool = True) -> None:
        self.variants = variants
        self.images = images
        self.scorer = scorer
        self.measure_groups = measure_groups and scorer is not None
        self.cache = None if cache is None else Path(cache)
        self.key = self._key()
        self._known = self._read()

    def _key(self) -> str:
        digest = hashlib.sha256(self.variants.model.SerializeToString(deterministic=True))
        digest.update(json.dumps(asdict(self.variants.table), sort_keys=True).encode())
        digest.update(self.variants.runtime.encode())
        for image in self.images:
            digest.update(image.tobytes())
        if self.scorer is not None:
            digest.update(json.dumps(self.scorer.image_ids).encode())
        return digest.hexdigest()

    def _read(self) -> Dict[str, dict]:
        if self.cache is None or not self.cache.is_file():
            return {}
        try:
            data = read_json(self.cache, 'an analysis', check=_check_known)
        except UserError:
            return {}
        return data['known'] if data.get('key') == self.key else {}

    def _remember(self, name: str, compute: Callable[[], dict]) -> dict:
        if name not in self._known:
            self._known[name] = compute()
            if self.cache is not None:
                write_json(self.cache, dict(key=self.key, known=self._known))
        return self._known[name]

    def run(self) -> Sensitivity:
        """Return the costs of all groups that may become 8 bit."""
        names = self.variants.candidates
        reference = list(map(self.variants.open([]), self.images))
        full = self._remember(f'{FULL} cheap', lambda: self._cheap(names, reference))
        result = Sensitivity({}, full_sqnr=full['sqnr'])
        if self.scorer is not None:
            result.float_ap = self._remember('float ap', lambda: self._ap([]))['ap']
            result.full_ap = self._remember(f'{FULL} ap', lambda: self._ap(names))['ap']
        for name in track(names, 'sensitivity'):
            cheap = self._remember(
                f'{name} cheap', partial(self._cheap, [name], reference))
            score = GroupScore(**cheap)
            if self.measure_groups:
                others = [other for other in names if other != name]
                score.ap_in = result.float_ap - self._remember(
                    f'{name} in', partial(self._ap, [name]))['ap']
                score.ap_out = self._remember(
                    f'{name} out', partial(self._ap, others))['ap'] - result.full_ap
            result.groups[name] = score
        return result

    def _cheap(self, names: Sequence[str], reference: List[list]) -> dict:
        run = self.variants.open(names)
        ratios, divergences = [], []
        for image, want in zip(self.images, reference):
            got = run(image)
            ratios.append(signal_to_noise(want, got))
            divergences.append(score_divergence(want[1], got[1]))
        return dict(sqnr=float(np.mean(ratios)), kl=float(np.mean(divergences)))

    def _ap(self, names: Sequence[str]) -> dict:
        assert self.scorer is not None  # else nobody asks
        return dict(ap=self.scorer.score_file(self.variants.open(names)).ap)
