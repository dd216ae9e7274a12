"""Finished measurements of a long analysis, kept in a file."""
from pathlib import Path
from typing import Callable, Dict, List, Optional, Union

from mmyolonas.utils import UserError, write_json
from mmyolonas.utils.files import read_json


class Known:
    """Numbers by name that need not be measured again.

    Args:
        path (str | Path, optional): JSON file; None keeps nothing.
        key (str): Of what was measured; with another key the file is begun anew.
    """

    def __init__(self, path: Optional[Union[str, Path]], key: str) -> None:
        self.path = None if path is None else Path(path)
        self.key = key
        self.values: Dict[str, List[float]] = self._read()

    def _read(self) -> Dict[str, List[float]]:
        if self.path is None or not self.path.is_file():
            return {}

        def check(data: dict) -> dict:
            known = data.get('known', {})
            if not all(isinstance(row, list) and all(isinstance(x, (int, float)) for x in row)
                       for row in known.values()):
                raise ValueError('known holds something else')
            return dict(data, known=known)

        try:
            data = read_json(self.path, 'an analysis', check=check)
        except UserError:
            return {}
        return data['known'] if data.get('key') == self.key else {}

    def find(self, name: str, compute: Callable[[], List[float]]) -> List[float]:
        """Return what is known under a name; compute and keep it if nothing is."""
        if name not in self.values:
            self.values[name] = compute()
            if self.path is not None:
                write_json(self.path, dict(key=self.key, known=self.values))
        return self.values[name]
