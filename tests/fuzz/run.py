"""Run every property of tests/fuzz for long, and print what became of the cases.

Each file of properties runs in a process of its own. What is done is noted in the work
folder, so that an interrupted call goes on with the next property when it is given again;
what was found stays in hypothesis' data base beside it and is tried first.

  python -m tests.fuzz.run --cases 10000
  python -m tests.fuzz.run --cases 200 --only test_checkpoints
"""
import argparse
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

from mmyolonas.utils import arguments
from mmyolonas.utils.cli import run_main
from mmyolonas.utils.files import read_json, write_json
from mmyolonas.utils.progress import track
from tests.fuzz.judge import MEMORY, figures_path

COLUMNS = ('cases', 'results', 'sentences', 'tracebacks', 'hangs', 'silent drops')
FIGURES = 'figures of a property; remove it to run the property again'


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--cases', type=arguments.positive_int, default=12000,
                        help='at least so many in all (default: 12000)')
    parser.add_argument('--only', default='', help='properties whose name holds this')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/fuzz'),
                        help='default: work_dirs/fuzz')
    parser.add_argument('--fresh', action='store_true', help='begin anew')
    return parser.parse_args()


def properties(only: str) -> list:
    """Return the ids of the properties."""
    done = subprocess.run(
        [sys.executable, '-m', 'pytest', '--collect-only', '-q', '-m', '', 'tests/fuzz'],
        capture_output=True, text=True, check=True)
    return [line for line in done.stdout.splitlines() if '::' in line and only in line]


def share(name: str) -> float:
    """Return which part of the cases a property gets: whole tools take seconds."""
    return 0.25 if 'test_command_lines' in name else 1.


def run_file(file: str, names: list, cases: int, folder: Path) -> None:
    """Run properties of a file in one process, which notes each that is done."""
    env = {**os.environ, 'HYPOTHESIS_PROFILE': 'fuzz', 'FUZZ_CASES': str(cases),
           'FUZZ_FIGURES': str(folder.absolute()), 'OMP_NUM_THREADS': '1',
           'HYPOTHESIS_STORAGE_DIRECTORY': str((folder / 'hypothesis').absolute())}
    with open(folder / f'{Path(file).stem}.log', 'a', encoding='utf-8') as log:
        done = subprocess.run(
            [sys.executable, '-m', 'pytest', '-q', '-m', '', '-p', 'no:cacheprovider',
             '-p', 'tests.fuzz.notes', *names], stdout=log, stderr=subprocess.STDOUT, env=env)
    for name in names:
        path = figures_path(folder, name)
        if not path.is_file() or 'code' not in read_json(path, FIGURES):  # it ended the process
            write_json(path, dict(kinds={}, peak=0, code=done.returncode or 1))


def found_so_far(names: list, folder: Path) -> dict:
    """Return the figures of the properties that are done."""
    paths = {name: figures_path(folder, name) for name in names}
    found = {name: read_json(path, FIGURES) for name, path in paths.items() if path.is_file()}
    return {name: figures for name, figures in found.items() if 'code' in figures}


def table(state: dict) -> str:
    """Return the figures as lines."""
    totals: dict = {}
    for found in state.values():
        for kind, row in found['kinds'].items():
            total = totals.setdefault(kind, dict.fromkeys((*COLUMNS, 'longest', 'peak'), 0))
            for name in COLUMNS:
                total[name] += row.get(name, 0)
            total['longest'] = max(total['longest'], row.get('longest', 0))
            total['peak'] = max(total['peak'], found['peak'])
    lines = [f'{"input":16s}' + ''.join(f'{name:>13s}' for name in COLUMNS)
             + f'{"longest":>13s}{"memory":>13s}']
    whole = dict.fromkeys(COLUMNS, 0)
    for kind, row in sorted(totals.items()):
        lines.append(f'{kind:16s}' + ''.join(f'{row[name]:13d}' for name in COLUMNS)
                     + f'{row["longest"]:11.1f} s{row["peak"] / 2**20:9.0f} MiB')
        whole = {name: whole[name] + row[name] for name in COLUMNS}
    lines.append(f'{"all":16s}' + ''.join(f'{whole[name]:13d}' for name in COLUMNS))
    return '\n'.join(lines)


def main() -> int:
    """Run the tool; the exit code is 1 if anything was found."""
    args = parse_args()
    names = properties(args.only)
    cases = math.ceil(args.cases / max(1, sum(map(share, names))))
    folder = args.work_dir / f'cases_{cases}'
    if args.fresh:
        shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    state = found_so_far(names, folder)
    files = list(dict.fromkeys(name.partition('::')[0] for name in names if name not in state))
    for file in track(files, 'files', interval=0):
        run_file(file, [name for name in names if name.startswith(f'{file}::')
                        and name not in state], math.ceil(cases * share(file)), folder)
    state = found_so_far(names, folder)
    print(table(state))
    bad = [name for name, found in state.items() if found['code'] or found['peak'] > MEMORY]
    for name in bad:
        print(f'found something: {name}, see {folder}')
    return 1 if bad else 0


if __name__ == '__main__':
    run_main(main)
