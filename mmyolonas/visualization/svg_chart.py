"""Small line charts as SVG inside a page: sharp at every size, without a script."""
import math
from dataclasses import dataclass
from typing import List, Optional, Sequence, Tuple

from markupsafe import Markup, escape

_WIDTH, _HEIGHT = 400, 240
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 12, 14, 40
_COLOURS = ('#1769aa', '#c2410c', '#2e7d32', '#7b1fa2', '#5d4037', '#00838f')
_MOST = 200  # points of a line


@dataclass
class Line:
    """A line of a chart.

    Args:
        name: For the legend.
        x, y: Equally many numbers; pairs that are not finite are left out.
        dots: Whether the points are marked.
    """
    name: str
    x: Sequence[float]
    y: Sequence[float]
    dots: bool = False

    def points(self) -> List[Tuple[float, float]]:
        """Return the finite points, at most some hundred."""
        found = [(float(x), float(y)) for x, y in zip(self.x, self.y)
                 if math.isfinite(x) and math.isfinite(y)]
        step = max(1, math.ceil(len(found) / _MOST))
        return found[::step] + found[-1:] * (step > 1)


def line_chart(lines: Sequence[Line], title: str, x_label: str,
               y_range: Optional[Tuple[float, float]] = None,
               mark: Optional[float] = None) -> Markup:
    """Return a chart as SVG; texts are escaped.

    Args:
        lines (Sequence[Line]): The lines, at most six.
        title (str): Above it.
        x_label (str): Below it.
        y_range (tuple[float, float], optional): Limits of y; by default those of the values,
            from 0 where they are positive.
        mark (float, optional): Place of a dashed vertical line.

    Returns:
        Markup: Empty if there is nothing to draw.
    """
    drawn = [(line, line.points()) for line in lines[:len(_COLOURS)]]
    drawn = [(line, points) for line, points in drawn if points]
    if not drawn:
        return Markup('')
    every = [point for _, points in drawn for point in points]
    x_low, x_high = _limits([x for x, _ in every])
    low, high = y_range or _limits([min(0, *(y for _, y in every)), *(y for _, y in every)])

    def place(x: float, y: float) -> str:
        across = _LEFT + (x - x_low) / (x_high - x_low) * (_WIDTH - _LEFT - _RIGHT)
        down = _TOP + (high - y) / (high - low) * (_HEIGHT - _TOP - _BOTTOM)
        return f'{across:.1f},{down:.1f}'

    parts = [f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{escape(title)}">']
    for value in _ticks(low, high):
        start, end = place(x_low, value).split(','), place(x_high, value).split(',')
        parts.append(f'<path class="grid" d="M{start[0]} {start[1]}H{end[0]}"/><text class="tick" '
                     f'x="{_LEFT - 6}" y="{float(start[1]) + 4:.1f}" text-anchor="end">{value:g}'
                     '</text>')
    for value in _ticks(x_low, x_high):
        across = place(value, low).split(',')[0]
        parts.append(f'<text class="tick" x="{across}" y="{_HEIGHT - _BOTTOM + 16}" '
                     f'text-anchor="middle">{value:g}</text>')
    if mark is not None and x_low <= mark <= x_high:
        across = place(mark, low).split(',')[0]
        parts.append(f'<path class="mark" d="M{across} {_TOP}V{_HEIGHT - _BOTTOM}"/>')
    for (line, points), colour in zip(drawn, _COLOURS):
        path = ' '.join(place(*point) for point in points)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{path}"/>')
        if line.dots or len(points) == 1:
            parts += ['<circle r="3" fill="{}" cx="{}" cy="{}"/>'.format(
                colour, *place(*point).split(',')) for point in points]
    parts.append(f'<text class="tick" x="{(_LEFT + _WIDTH - _RIGHT) / 2}" y="{_HEIGHT - 6}" '
                 f'text-anchor="middle">{escape(x_label)}</text></svg>')
    legend = ''.join(f'<span class="key"><i style="background:{colour}"></i>{escape(line.name)}'
                     '</span>' for (line, _), colour in zip(drawn, _COLOURS))
    return Markup(f'<figure class="chart"><figcaption>{escape(title)}</figcaption>'
                  + ''.join(parts) + f'<div class="legend">{legend}</div></figure>')


def _limits(values: Sequence[float]) -> Tuple[float, float]:
    low, high = min(values), max(values)
    if high <= low:
        return low - 0.5 * abs(low or 1), high + 0.5 * abs(high or 1)
    return low, high


def _ticks(low: float, high: float) -> List[float]:
    """Return about five round numbers within limits."""
    raw = (high - low) / 5
    power = 10.0**math.floor(math.log10(raw))
    step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= raw)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 10) for index in range(first, math.floor(high / step + 1e-9) + 1)]
