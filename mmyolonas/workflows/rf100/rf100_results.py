"""Results on many data sets, a line of CSV each."""
import csv
import io
import itertools
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from pathlib import Path
from typing import Dict, Iterator, List

from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import PathLike, write_text
from mmyolonas.utils.names import csv_cell, from_csv_cell


@dataclass
class Result:
    """One data set.

    Attributes:
        dataset: Its name.
        category: Of Roboflow 100; '' for others.
        model: 's', 'm' or 'l'.
        status: 'ok' or 'failed'.
        ap: On test, at IoU 0.5 to 0.95, within [0, 1]; -1 if it failed.
        ap50: On test, at IoU 0.5.
        ap75: On test, at IoU 0.75.
        valid_ap, valid_ap50: On valid, of the checkpoint that the latter chose.
        best_epoch: Epoch of the chosen checkpoint.
        train_images: Images of the training split.
        classes: Classes that occur.
        train_minutes: Time of the training, all attempts together.
        memory_mb: Largest memory: the GPU's where there is one, else the process's.
        message: Why it failed.
        finished: Date and time.
    """
    dataset: str
    category: str = ''
    model: str = ''
    status: str = 'failed'
    ap: float = -1.0
    ap50: float = -1.0
    ap75: float = -1.0
    valid_ap: float = -1.0
    valid_ap50: float = -1.0
    best_epoch: int = -1
    train_images: int = 0
    classes: int = 0
    train_minutes: float = 0.0
    memory_mb: float = -1.0
    message: str = ''
    finished: str = ''


class ResultTable:
    """A CSV file with a line for each data set, replaced as a whole at every change.

    Args:
        path (str | Path): The file; read if it exists.

    Raises:
        UserError: The file is not such a table.
    """

    def __init__(self, path: PathLike) -> None:
        self.path = Path(path)
        self._rows: Dict[str, Result] = {}
        if self.path.is_file():
            for row in self._read():
                self._rows[row.dataset] = row

    def _read(self) -> Iterator[Result]:
        kinds = {field.name: field.type for field in fields(Result)}
        with open(self.path, newline='', encoding='utf-8') as file:
            rows = csv.DictReader(file)
            for number in itertools.count(2):
                try:
                    row = next(rows, None)
                    if row is None:
                        return
                    if None in row.values():
                        raise ValueError('a value is missing')
                    yield Result(**{name: kinds[name](from_csv_cell(value))
                                    for name, value in row.items()})
                except (KeyError, TypeError, ValueError, csv.Error) as error:
                    raise UserError(f'{self.path}, line {number}: not a table of results '
                                    f'({error}); move it away.') from error

    @classmethod
    def merged(cls, work_dir: PathLike) -> 'ResultTable':
        """Return the tables of all jobs of a folder as one; a success beats a failure."""
        merged = cls(Path(work_dir) / 'results.csv')
        for path in sorted(Path(work_dir).glob('results_*.csv')):
            for row in cls(path).rows:
                if row.dataset not in merged or merged[row.dataset].status != 'ok':
                    merged._rows[row.dataset] = row
        return merged

    @property
    def rows(self) -> List[Result]:
        """list[Result]: All lines, by name."""
        return [self._rows[name] for name in sorted(self._rows)]

    def __contains__(self, name: str) -> bool:
        return name in self._rows

    def __getitem__(self, name: str) -> Result:
        return self._rows[name]

    def add(self, result: Result) -> None:
        """Write a line, in the place of an earlier one of the same data set."""
        result.finished = datetime.now(timezone.utc).strftime('%Y-%m-%d %H:%M:%S')
        self._rows[result.dataset] = result
        text = io.StringIO()
        writer = csv.DictWriter(text, [field.name for field in fields(Result)],
                                lineterminator='\n')
        writer.writeheader()
        writer.writerows({name: csv_cell(value) for name, value in asdict(row).items()}
                         for row in self.rows)
        write_text(self.path, text.getvalue())
