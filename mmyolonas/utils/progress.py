"""Progress with an estimate of the time that is left."""
import sys
import time
from typing import Callable, Iterable, Iterator, Optional, TypeVar

Item = TypeVar('Item')


def format_duration(seconds: float) -> str:
    """Return seconds as ``1:02:03`` or ``02:03``."""
    minutes, seconds = divmod(int(round(seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02d}:{seconds:02d}' if hours else f'{minutes:02d}:{seconds:02d}'


def _print(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def track(items: Iterable[Item],
          label: str,
          total: Optional[int] = None,
          interval: float = 5.0,
          report: Callable[[str], None] = _print) -> Iterator[Item]:
    """Yield ``items`` and report how many are done, how fast, and what is left.

    Whole lines are written (not a bar), so that logs of batch jobs stay
    readable. Nothing is reported for work that ends within ``interval``.

    Args:
        items (Iterable): What to go through; it may be endless.
        label (str): What is being done, first on each line.
        total (int, optional): Number of items; taken from ``items`` where it
            has a length, unknown otherwise.
        interval (float): Seconds between two lines. Defaults to 5.
        report (Callable): Takes a line. Defaults to standard error.

    Yields:
        The items.
    """
    if total is None and hasattr(items, '__len__'):
        total = len(items)
    start = last = time.monotonic()
    count, reported = 0, False
    for item in items:
        yield item
        count += 1
        now = time.monotonic()
        if now - last >= interval:
            last, reported = now, True
            report(_line(label, count, total, now - start))
    if reported:
        report(_line(label, count, total, time.monotonic() - start))


def _line(label: str, count: int, total: Optional[int], seconds: float) -> str:
    rate = count / max(seconds, 1e-9)
    text = f'{label}: {count}' + (f'/{total}' if total else '')
    text += f', {rate:.1f}/s' if rate >= 1 else f', {1 / max(rate, 1e-9):.1f} s each'
    text += f', {format_duration(seconds)} gone'
    if total and count < total:
        text += f', {format_duration((total - count) / max(rate, 1e-9))} left'
    return text
