"""How long a run takes."""
import time
from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Mapping

import numpy as np

from mmyolonas.utils import track


@dataclass
class Latency:
    """Times of some runs of one thing, in milliseconds.

    Args:
        times (list[float]): Each run.
    """
    times: List[float]

    @property
    def median(self) -> float:
        """float: Median."""
        return self.percentile(50)

    @property
    def best(self) -> float:
        """float: Shortest."""
        return float(min(self.times))

    @property
    def mean(self) -> float:
        """float: Mean."""
        return float(np.mean(self.times))

    def percentile(self, share: float) -> float:
        """Return what ``share`` per cent of the runs do not exceed."""
        return float(np.percentile(self.times, share))


def measure(runs: Mapping[str, Callable[..., Any]], *inputs: Any, repeats: int = 15,
            warm_up: int = 3, clock: Callable[[], float] = time.perf_counter,
            title: str = '') -> Dict[str, Latency]:
    """Time several things in turn, so that all see the same state of the machine.

    Args:
        runs (dict): What to call, for example sessions of
            :func:`mmyolonas.runtime.open_session`, by name.
        *inputs: What each is called with.
        repeats (int): Timed runs of each. Defaults to 15.
        warm_up (int): Runs that are not timed. Defaults to 3.
        clock (Callable): Seconds; ``time.process_time`` counts processor time,
            which a busy machine disturbs less.
        title (str): Shows progress under this name. Defaults to none.

    Returns:
        dict[str, Latency]: By name.
    """
    times: Dict[str, List[float]] = {name: [] for name in runs}
    steps = range(warm_up + repeats)
    for step in track(steps, title) if title else steps:
        for name, run in runs.items():
            start = clock()
            run(*inputs)
            if step >= warm_up:
                times[name].append(1e3 * (clock() - start))
    return {name: Latency(values) for name, values in times.items()}
