"""Result files: one for each stage, complete after every item, read again by the next run."""
import json
import time
from pathlib import Path
from typing import Any, Dict, List, Sequence

from benchmarks.gpu.items import DONE, FAILED, SKIPPED, STOPPED, Item
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import write_json

FORMAT = 'mmyolonas-gpu/1'
#: A failed item is tried this often.
ATTEMPTS = 2
#: Seconds in which an item that is gone on with gets further: a checkpoint and what is before it.
PIECE = 60.


class StageResults:
    """What a stage has measured so far.

    Args:
        folder (Path): Folder of the file ``gpu-<stage>.json``.
        stage (str): Name of the stage.
        rehearsal (bool): Whether it is one; its file is no measurement and says so.

    Raises:
        UserError: The file is not one of this program, or a rehearsal's where a measurement is
            wanted or the other way round.
    """

    def __init__(self, folder: Path, stage: str, rehearsal: bool) -> None:
        self.path = Path(folder) / f'gpu-{stage}.json'
        self.state: Dict[str, Any] = dict(
            format=FORMAT, stage=stage, rehearsal=rehearsal, machines={}, items={})
        if self.path.exists():
            self._read(rehearsal)

    def _read(self, rehearsal: bool) -> None:
        try:
            state = json.loads(self.path.read_text(encoding='utf-8'))
            known = state['format'] == FORMAT
        except (ValueError, KeyError, TypeError):
            known = False
        if not known or not all(isinstance(state.get(k), dict) for k in ('items', 'machines')):
            raise UserError(f'{self.path} is no result file of this program; move it away or give '
                            'another --out.')
        if state['rehearsal'] != rehearsal:
            kind = ('a measurement', 'a rehearsal')
            raise UserError(f'{self.path} is {kind[state["rehearsal"]]}, and this run is '
                            f'{kind[rehearsal]}; give another --out.')
        self.state = state

    def status(self, key: str) -> str:
        """Return the state of an item; empty if it was never begun."""
        return self.state['items'].get(key, {}).get('status', '')

    def open(self, items: Sequence[Item]) -> List[Item]:
        """Return the items that are to be done, those never begun first.

        A skipped item is looked at again: what it lacked may be here now.
        """
        new = [item for item in items if self.status(item.key) in ('', SKIPPED)]
        again = [item for item in items if self.status(item.key) == STOPPED or (
            self.status(item.key) == FAILED
            and self.state['items'][item.key]['attempts'] < ATTEMPTS)]
        return new + again

    def needs(self, item: Item, scale: float, scratch: str = '') -> float:
        """Return the seconds that must be left to begin an item.

        More than its estimate where an earlier attempt was stopped, less where this one goes on
        with what that has left.

        Args:
            item (Item): The item.
            scale (float): Of the estimates.
            scratch (str): The scratch folder's identity. Defaults to none.
        """
        record = self.state['items'].get(item.key, {})
        stopped = record.get('seconds', 0) if record.get('status') == STOPPED else 0
        if stopped and item.resumes and record.get('scratch') == scratch:
            return scale * min(item.seconds, PIECE)
        return max(item.seconds * scale, 1.2 * stopped)

    def write(self, item: Item, status: str, seconds: float, machine: Dict[str, Any],
              **found: Any) -> None:
        """Keep what came of an item, with the day, and write the file."""
        machines = self.state['machines']
        name = next((name for name, known in machines.items() if known == machine), None)
        if name is None:
            name = f'machine {len(machines) + 1}'
            machines[name] = machine
        attempts = self.state['items'].get(item.key, {}).get('attempts', 0)
        self.state['items'][item.key] = dict(
            status=status, seconds=round(seconds, 1),
            attempts=attempts + (status in (DONE, FAILED)), machine=name,
            date=time.strftime('%Y-%m-%d', time.gmtime()), **found)
        write_json(self.path, self.state)
