"""Runs the rows in the interpreters that have their packages, and counts what is right."""
import json
import os
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

from benchmarks.clients.prepare import LEAST, convert_for, reference_on
from benchmarks.clients.rows import Row

ROOT = Path(__file__).resolve().parents[2]
VERSIONS = '''
import importlib.metadata as m, json
print(json.dumps({d.name.lower().replace('_', '-'): d.version for d in m.distributions()}))
'''


@dataclass
class Outcome:
    """A row, run.

    Args:
        title (str): Client.
        version (str): Of its package.
        flavour (str): File it got.
        figure (str): Right of wanted; found.
        state (str): ``'right'``, ``'wrong'``, ``'converted'`` or ``'failed'``.
        note (str): What there is to say.
    """
    title: str
    version: str
    flavour: str
    figure: str = ''
    state: str = 'right'
    note: str = ''

    def count(self, right: int, wanted: int, found: int) -> 'Outcome':
        """Set the figure."""
        self.figure = f'{right}/{wanted}' + ('' if found == wanted else f', {found} found')
        self.state = 'right' if right == wanted == found else 'wrong'
        return self


def installed(python: str) -> Dict[str, str]:
    """Return the versions of an interpreter's distributions."""
    done = subprocess.run([python, '-c', VERSIONS], capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def version_of(needs: Sequence[str], packages: Dict[str, str]) -> Optional[str]:
    """Return the version of the first need, None unless all are there."""
    found = []
    for need in needs:
        there = [packages[name] for name in need.split('|') if name in packages]
        if not there:
            return None
        found.append(there[0])
    return found[0]


def places(row: Row, pythons: Dict[str, Dict[str, str]], node: Optional[str]) -> List[
        Tuple[str, str]]:
    """Return interpreter and version for every version of a row's client that is here."""
    if row.needs[0].startswith('npm:'):
        package = Path(node or '', 'node_modules', row.needs[0][4:], 'package.json')
        if not node or not package.is_file():
            return []
        return [(next(iter(pythons)), json.loads(package.read_text('utf-8'))['version'])]
    found: Dict[str, str] = {}
    for python, packages in pythons.items():
        version = version_of(row.needs, packages)
        if version is not None:
            found.setdefault(version, python)
    return [(python, version) for version, python in sorted(found.items(), reverse=True)]


class Bench:
    """Everything that the rows share.

    Args:
        jobs (dict): Job of the workers by task (``'detection'``, ``'pose'``), without row and
            file.
        files (dict[str, str]): Files by flavour.
        metadata (ModelMetadata): Description of the detector.
        reference (dict): Rows of each picture by task, and ``'best class'`` without further
            classes of a prior, which most consumers do not look at.
        folder (Path): Work folder.
        source (Path): Pictures to calibrate on.
    """

    def __init__(self, jobs: Dict[str, Dict[str, Any]], files: Dict[str, str], metadata: Any,
                 reference: Dict[str, List[list]], folder: Path, source: Path) -> None:
        import torch

        from mmyolonas.runtime.runtime import Runtime
        self.jobs, self.files, self.metadata = jobs, files, metadata
        self.reference, self.folder, self.source = reference, folder, source
        self.program = torch.export.load(files['program']).module()
        self.plain = Runtime(files['none'])

    def run(self, row: Row, python: str, version: str) -> Outcome:
        """Run one row in one interpreter."""
        outcome = Outcome(row.title, version, row.flavour)
        task = 'pose' if row.gives == 'poses' else 'detection'
        job = dict(self.jobs[task], row=row.name, target=row.target,
                   file=self.files.get(row.flavour, ''))
        try:
            if row.target:
                job['file'], said = convert_for(
                    row.target, python, self.files, row.flavour, self.folder, job['images'],
                    self.source)
                if not row.function:
                    return self._converted(outcome, row, said)
            return self._judge(outcome, row, self._work(job, python))
        except Exception as error:  # a client that fails is a row of the table
            outcome.state = 'failed'
            outcome.note = ' '.join(str(error).split())[:200]
            return outcome

    def _work(self, job: Dict[str, Any], python: str) -> Dict[str, Any]:
        from mmyolonas.runtime.runtime import Runtime
        if job['file'].endswith('.onnx'):
            with Runtime(job['file']) as runtime:
                job['outputs'] = [info.name for info in runtime.session.outputs]
        with tempfile.TemporaryDirectory() as folder:
            paths = [os.path.join(folder, name) for name in ('job.json', 'result.json')]
            Path(paths[0]).write_text(json.dumps(job), 'utf-8')
            env = dict(os.environ, PYTHONPATH=os.pathsep.join(
                filter(None, [str(ROOT), os.environ.get('PYTHONPATH')])))
            log = self.folder / 'logs' / f'{job["row"]}.log'
            log.parent.mkdir(exist_ok=True)
            with open(log, 'wb') as file:
                done = subprocess.run([python, '-m', 'benchmarks.clients.worker', *paths],
                                      cwd=ROOT, env=env, stdout=file, stderr=subprocess.STDOUT,
                                      check=False)
            if not os.path.exists(paths[1]):
                raise RuntimeError(f'ended with {done.returncode}; see {log}')
            result = json.loads(Path(paths[1]).read_text('utf-8'))
            if 'error' in result:
                raise RuntimeError(result['error'])
            if 'tensors' in result:
                result['tensors'] = _nested(result['tensors'])
            return result

    def _judge(self, outcome: Outcome, row: Row, result: Dict[str, Any]) -> Outcome:
        if row.gives == 'tensors':
            return self._boxes(outcome, self._decoded(row, result['tensors']))
        found = result['found']
        if row.gives == 'counts':
            return outcome.count(**found)
        if row.gives == 'boxes':
            return self._boxes(outcome, found)
        if row.gives == 'poses':
            return outcome.count(*_sum(map(same_poses, found, self.reference['pose'])))
        expected = [reference_on(np.array(item['pixels'], np.float32), self.program,
                                 self.metadata, self.plain, row.name == 'frigate')
                    for item in found]  # the others take the best class of a prior
        outcome.count(*_sum(map(same_rows, [item['net'] for item in found], expected)))
        if row.name != 'frigate':  # which sees a square part of the picture
            rows = [item['rows'] for item in found]
            expected = self.reference['best class']
            right, wanted, _ = _sum(map(same_rows, rows, expected))
            near = _sum(map(near_rows, rows, expected))[0]
            outcome.note = (f"prepared in the consumer's way {right}/{wanted}, {near} of the same "
                            'class with IoU > 0.5')
        return outcome

    def _boxes(self, outcome: Outcome, found: Sequence[list]) -> Outcome:
        return outcome.count(*_sum(map(same_rows, found, self.reference['detection'])))

    def _decoded(self, row: Row, outputs: Sequence[Dict[str, np.ndarray]]) -> List[list]:
        from mmyolonas.runtime.runtime import Runtime
        path = self.files['none' if row.flavour in ('program', 'none-free') else row.flavour]
        found = []
        with Runtime(path) as runtime:
            shapes = {info.name: info.shape for info in runtime.session.outputs}
            for image, values in zip(self.jobs['detection']['images'], outputs):
                _, ways = runtime.preprocess([image])
                whole = {name: value.reshape([side or -1 for side in shapes[name]])
                         for name, value in values.items()}
                item = runtime.postprocess(whole, ways)[0]
                found.append([[*map(float, box), float(score), int(label)] for box, score, label
                              in zip(item.boxes, item.scores, item.labels)])
        return found

    def _converted(self, outcome: Outcome, row: Row, said: Sequence[str]) -> Outcome:
        for line in said:
            match = re.search(r'(\d+) of (\d+) boxes above .*, (\d+) found$', line)
            if match:
                outcome.note = 'against ONNX Runtime on the same file'
                outcome.count(*map(int, match.groups()))
            elif outcome.figure and ' nearly ' in line:
                outcome.note += '; ' + line.partition(': ')[2]
        if outcome.figure:
            return outcome
        outcome.state, outcome.note = 'converted', said[-1]
        return outcome


def _nested(path: str) -> List[Dict[str, np.ndarray]]:
    found: Dict[int, Dict[str, np.ndarray]] = {}
    with np.load(path, allow_pickle=False) as stored:
        for key in stored.files:
            index, _, name = key.partition('/')
            found.setdefault(int(index), {})[name] = stored[key]
    return [found[index] for index in sorted(found)]


def _sum(counts: Any) -> Tuple[int, int, int]:
    right, wanted, found = zip(*counts)
    return sum(right), sum(wanted), sum(found)


def same_rows(found: Sequence[list], expected: Sequence[list]) -> Tuple[int, int, int]:
    """Return right, wanted and found rows of one picture."""
    from mmyolonas.deploy.targets.parity import same_boxes
    rows, other = (np.array(value, float).reshape(-1, 6) for value in (found, expected))
    right = same_boxes(rows[:, :4], rows[:, 4], rows[:, 5],
                       (other[:, :4], other[:, 4], other[:, 5]))
    return right, len(other), int((rows[:, 4] > LEAST).sum())


def near_rows(found: Sequence[list], expected: Sequence[list]) -> Tuple[int, int, int]:
    """Return the same for boxes of the same class that overlap by half, above 0.25."""
    kept = [row for row in found if row[4] > LEAST]
    from mmyolonas.deploy.targets.parity import same_boxes
    rows, other = (np.array(value, float).reshape(-1, 6) for value in (kept, expected))
    right = same_boxes(rows[:, :4], rows[:, 4], rows[:, 5],
                       (other[:, :4], other[:, 4], other[:, 5]), 0.5, 1.)
    return right, len(other), len(rows)


def same_poses(found: Sequence[list], expected: Sequence[list]) -> Tuple[int, int, int]:
    """Return right, wanted and found poses: also every key point within a pixel."""
    right, used = 0, set()
    for wanted in np.array(expected, float):
        for index, row in enumerate(np.array(found, float)):
            one = same_rows([[*row[:5], 0]], [[*wanted[:5], 0]])[0]
            if index not in used and one and np.abs(row[5:] - wanted[5:]).max() < 1:
                used.add(index)
                right += 1
                break
    return right, len(expected), sum(row[4] > LEAST for row in found)
