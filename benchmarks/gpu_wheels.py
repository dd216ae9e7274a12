"""Gather the packages that gpu.py needs for a machine without a network, and install them there.

gather   downloads the wheels of benchmarks/gpu_wheels.txt for Python 3.12 on x86-64 Linux into a
         folder and says what they weigh; xtcocotools, which has no such wheel, is built (needs
         Python 3.12, cython, numpy, a compiler). --set adds lists: tensorrt-rtx, onnxruntime-gpu.
         Wheels larger than --part MiB are cut into parts, each in a folder of its own, for a
         machine that takes only so much at a time.
install  joins the parts that lie in the given folders and installs everything into --target,
         without asking what the packages need: put that folder on PYTHONPATH.

  python3.12 benchmarks/gpu_wheels.py gather wheels
  python3.12 benchmarks/gpu_wheels.py gather wheels_trt --set tensorrt-rtx --only --part 56
  python benchmarks/gpu_wheels.py install wheels --target /tmp/site
"""
import argparse
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List, Sequence

LIST = Path(__file__).resolve().with_name('gpu_wheels.txt')
PYTHON = '3.12'
#: pip takes these names literally; a wheel bears one or several of them.
PLATFORMS = ('manylinux_2_28_x86_64', 'manylinux_2_27_x86_64', 'manylinux_2_24_x86_64',
             'manylinux_2_17_x86_64', 'manylinux2014_x86_64', 'manylinux1_x86_64')
_MIB = 2**20


def fail(message: str) -> None:
    """End with one sentence."""
    sys.exit(f'error: {message}')


def read_list(path: Path) -> Dict[str, List[str]]:
    """Return the requirements of each set; ``[name]`` begins one, the first is ``base``."""
    found: Dict[str, List[str]] = {'base': []}
    name = 'base'
    for number, line in enumerate(path.read_text(encoding='utf-8').splitlines(), 1):
        line = line.split('#')[0].strip()
        if re.fullmatch(r'\[[\w-]+\]', line):
            name = line[1:-1]
            found[name] = []
        elif line:
            if not re.fullmatch(r'[\w.-]+==[\w.]+( !build)?', line):
                fail(f'{path.name}, line {number}: expected NAME==VERSION, got {line!r}.')
            found[name].append(line)
    return found


def gather(folder: Path, requirements: Sequence[str], part: float) -> None:
    """Download or build wheels, cut what is too large, and say what there is."""
    folder.mkdir(parents=True, exist_ok=True)
    ready = [line for line in requirements if not line.endswith('!build')]
    pip = [sys.executable, '-m', 'pip']
    if ready:
        platforms = [word for name in PLATFORMS for word in ('--platform', name)]
        run([*pip, 'download', '--quiet', '--no-deps', '--only-binary=:all:', '--python-version',
             PYTHON, '--implementation', 'cp', *platforms, '--dest', str(folder), *ready])
    for line in requirements:
        if line.endswith('!build'):
            build(folder, line.split()[0], pip)
    for wheel in sorted(folder.glob('*.whl')):
        if wheel.stat().st_size > part * _MIB:
            cut(wheel, part)
    show(folder, part)


def build(folder: Path, requirement: str, pip: List[str]) -> None:
    """Build a wheel with the running interpreter."""
    if sys.version_info[:2] != tuple(map(int, PYTHON.split('.'))):
        fail(f'{requirement} must be built by Python {PYTHON}, this is '
             f'{sys.version_info.major}.{sys.version_info.minor}; run this script with python'
             f'{PYTHON}.')
    run([*pip, 'wheel', '--quiet', '--no-deps', '--no-build-isolation', '--no-binary',
         requirement.split('==')[0], '--wheel-dir', str(folder), requirement])


def run(command: List[str]) -> None:
    """Run pip; its own words are the message."""
    if subprocess.run(command).returncode:
        fail('pip failed; its words are above.')


def cut(wheel: Path, part: float) -> None:
    """Cut a wheel into ``part0/NAME.part0``, ``part1/NAME.part1`` ... beside it, and remove it."""
    size = int(part * _MIB)
    with open(wheel, 'rb') as file:
        index = 0
        while piece := file.read(size):
            target = wheel.parent / f'part{index}' / f'{wheel.name}.part{index}'
            target.parent.mkdir(exist_ok=True)
            target.write_bytes(piece)
            index += 1
    wheel.unlink()


def show(folder: Path, part: float) -> None:
    """Print what lies in a folder, and what each transfer weighs."""
    for where in [folder, *sorted(folder.glob('part*'))]:
        files = sorted(path for path in where.iterdir() if path.is_file())
        total = sum(path.stat().st_size for path in files) / _MIB
        if files:
            print(f'{where}: {len(files)} files, {total:.1f} MiB' + (
                f' (more than {part:g})' if total > part else ''))


def join(folders: Sequence[Path], target: Path) -> List[Path]:
    """Return the wheels of folders; those in parts are put together in another folder."""
    wheels: Dict[str, Path] = {}
    parts: Dict[str, Dict[int, Path]] = {}
    for folder in folders:
        if not folder.is_dir():
            fail(f'{folder} is no folder.')
        for path in sorted(folder.rglob('*')):
            match = re.fullmatch(r'(.*\.whl)\.part(\d+)', path.name)
            if path.suffix == '.whl':
                wheels[path.name] = path
            elif match:
                parts.setdefault(match[1], {})[int(match[2])] = path
    for name, found in parts.items():
        if sorted(found) != list(range(len(found))):
            fail(f'{name} lacks a part: there are {sorted(found)}.')
        wheels[name] = target / name
        with open(wheels[name], 'wb') as file:
            for index in range(len(found)):
                file.write(found[index].read_bytes())
    return list(wheels.values())


def install(folders: Sequence[Path], target: Path) -> None:
    """Install the wheels of folders into a folder."""
    with tempfile.TemporaryDirectory() as joined:
        wheels = join(folders, Path(joined))
        if not wheels:
            fail(f'no wheels in {", ".join(map(str, folders))}.')
        run([sys.executable, '-m', 'pip', 'install', '--quiet', '--no-index', '--no-deps',
             '--no-compile', '--no-cache-dir', '--upgrade', '--target', str(target),
             *map(str, wheels)])
    print(f'{len(wheels)} packages in {target}; export PYTHONPATH={target}')


def main() -> None:
    """Run the tool."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest='command', required=True)
    one = commands.add_parser('gather', help='download and build')
    one.add_argument('folder', type=Path)
    one.add_argument('--set', nargs='+', default=[], help='further lists of gpu_wheels.txt')
    one.add_argument('--only', action='store_true', help='nothing but the further lists')
    one.add_argument('--part', type=float, default=64, help='largest file in MiB (default: 64)')
    two = commands.add_parser('install', help='install without a network')
    two.add_argument('folders', nargs='+', type=Path)
    two.add_argument('--target', type=Path, required=True)
    args = parser.parse_args()
    if args.command == 'install':
        install(args.folders, args.target)
        return
    lists = read_list(LIST)
    unknown = [name for name in args.set if name not in lists]
    if unknown:
        fail(f'there is no list {unknown[0]!r}; there are {", ".join(lists)}.')
    if not args.part > 0:
        fail(f'--part must be above 0, got {args.part:g}.')
    names = args.set if args.only else ['base', *args.set]
    gather(args.folder, [line for name in names for line in lists[name]], args.part)


if __name__ == '__main__':
    os.environ.setdefault('PIP_DISABLE_PIP_VERSION_CHECK', '1')
    main()
