"""Several processes label the images of one file: who does what, and what becomes of it."""
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence

from mmyolonas.evaluation.score_thresholds import ClassThreshold
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import read_json, write_json
from mmyolonas.utils.journal import parse_line, read_lines
from mmyolonas.utils.locks import only_writer

#: Seconds to wait for the process that chooses the thresholds for all.
_A_DAY = 86400.


@dataclass(frozen=True)
class Shard:
    """One of several equal parts of a list, which lie behind each other.

    Args:
        index (int): Number of the part, from 1.
        count (int): Number of parts.

    Raises:
        UserError: The numbers do not make sense.
    """
    index: int
    count: int

    def __post_init__(self) -> None:
        if not 1 <= self.index <= self.count:
            raise UserError(f'--shard I/N needs 1 <= I <= N, got {self.index}/{self.count}.')

    @classmethod
    def parse(cls, text: str) -> 'Shard':
        """Return the shard of ``I/N``."""
        try:
            index, count = map(int, text.split('/'))
        except ValueError:
            raise UserError(f'--shard takes I/N, for example 3/10, got {text!r}.') from None
        return cls(index, count)

    def of(self, items: Sequence[Any]) -> List[Any]:
        """Return this part of a list."""
        size = len(items)
        return list(items[(self.index - 1) * size // self.count:self.index * size // self.count])


class Parts:
    """The journals of all shards, in a folder beside the file that they become.

    Args:
        out (Path): The file.
        header (dict): What all journals depend on.
        names (Sequence[str]): All images; a shard of other images is another one's.
        count (int): Number of shards.
    """

    def __init__(self, out: Path, header: Dict[str, Any], names: Sequence[str],
                 count: int) -> None:
        digest = hashlib.sha256('\n'.join(names).encode()).hexdigest()
        self.folder = out.with_name(f'{out.stem}_parts')
        self.header = json.loads(json.dumps(dict(header, images=digest, shards=count)))
        self.count = count
        self.folder.mkdir(parents=True, exist_ok=True)

    def path(self, index: int) -> Path:
        """Return the journal of a shard."""
        return self.folder / f'{index}-of-{self.count}.jsonl'

    def open(self) -> List[int]:
        """Return the shards that are not done."""
        return [index for index in range(1, self.count + 1) if self._end(index) is None]

    @property
    def unreadable(self) -> List[str]:
        """list[str]: What the shards that are done could not read."""
        ends = (self._end(index) for index in range(1, self.count + 1))
        return [line for end in ends if end for line in end['unreadable']]

    def _end(self, index: int) -> Optional[Dict[str, Any]]:
        """Return the record that ends a shard of these settings, the last one; None without."""
        end = None
        for record in self._read(index):
            end = record if 'unreadable' in record else None
        return end

    def _read(self, index: int) -> Iterator[Dict[str, Any]]:
        path = self.path(index)
        if not path.is_file():
            return
        with open(path, 'rb') as file:
            if parse_line(next(file, b'')) == self.header:
                yield from read_lines(file)

    def __iter__(self) -> Iterator[Dict[str, Any]]:
        """Yield the records of all shards in the order of the images."""
        for index in range(1, self.count + 1):
            yield from self._read(index)

    def thresholds(self, choose: Callable[[], List[ClassThreshold]]) -> List[ClassThreshold]:
        """Return thresholds that one process chooses for all."""
        path = self.folder / 'thresholds.json'
        with only_writer(path, timeout=_A_DAY):
            if path.is_file():
                known = read_json(path, 'a list of thresholds')
                if known.get('header') == self.header:
                    return [ClassThreshold(**values) for values in known['thresholds']]
            chosen = choose()
            write_json(path, dict(header=self.header, thresholds=[asdict(t) for t in chosen]))
        return chosen
