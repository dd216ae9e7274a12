"""Writing figures of matplotlib, in which names are data."""
import io
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, Callable, Iterator, Optional

from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import PathLike, write_bytes


def write_figure(path: PathLike, figure: Any, dpi: int = 110) -> None:
    """Write a figure of matplotlib in the format of the suffix (default PNG), atomically.

    Raises:
        UserError: matplotlib does not know the suffix.
    """
    buffer = io.BytesIO()
    kind = Path(path).suffix[1:].lower() or 'png'
    if kind not in figure.canvas.get_supported_filetypes():
        raise UserError(f'cannot write {path}: matplotlib has no format {kind!r}; use .png.')
    with _without_formulas(figure):
        figure.savefig(buffer, dpi=dpi, format=kind)
    write_bytes(path, buffer.getbuffer())


@contextmanager
def _without_formulas(figure: Any) -> Iterator[None]:
    """Let matplotlib show texts as they are: ``$`` begins a formula for it, perhaps a wrong one.

    Names of classes, groups and folders are data. The numbers of logarithmic axes are
    matplotlib's own formulas and stay.
    """
    from matplotlib import rc_context
    from matplotlib.category import StrCategoryFormatter
    from matplotlib.text import Text
    from matplotlib.ticker import FixedFormatter, FuncFormatter

    from mmyolonas.utils.names import printable
    every = [axis for axes in figure.axes for axis in (axes.xaxis, axes.yaxis)]
    logarithmic = [axis for axis in every if axis.get_scale() not in ('linear', 'function')]
    for axis in every:
        names = axis.get_major_formatter()
        if isinstance(names, (FixedFormatter, FuncFormatter, StrCategoryFormatter)):
            axis.set_major_formatter(FuncFormatter(partial(_printable_tick, names)))
    own = {id(text) for axis in logarithmic for text in axis.findobj(Text)}
    with rc_context({'text.parse_math': bool(logarithmic)}):
        for text in figure.findobj(Text):
            if id(text) not in own:
                text.set_parse_math(False)
                lines = text.get_text().split('\n')
                text.set_text('\n'.join(map(printable, lines)))
        yield


def _printable_tick(names: Callable, place: float, number: Optional[int] = None) -> str:
    from mmyolonas.utils.names import printable
    return printable(names(place, number))
