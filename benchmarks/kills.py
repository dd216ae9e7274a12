"""Kill every tool at moments of its run, and look at what is left.

For each tool: one undisturbed run, then kills (SIGKILL of the whole group of processes)
at evenly spread moments. After each kill: no process is left, every file with a final
name is whole, and the same command, given again, ends well with the same results. What is
left of unfinished files is gone when they are written again.

  python -m benchmarks.kills --kills 50 --work-dir work_dirs/kills
"""
import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Dict, List, Optional

import cv2
import numpy as np
import torch

from mmyolonas.utils import arguments
from mmyolonas.utils.checkpoints import read_checkpoint
from mmyolonas.utils.cli import run_main
from mmyolonas.utils.files import read_json, write_json

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from tests import tiny  # noqa: E402


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--kills', type=arguments.positive_int, default=50, help='in all')
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/kills'))
    parser.add_argument('--only', default='', help='tools whose name holds this')
    return parser.parse_args()


def prepare(folder: Path) -> None:
    """Make a data set, a model, a video and an exported file, once."""
    if (folder / 'ready').is_file():
        return
    data = tiny.write_data(folder / 'data', count=24)
    tiny.write_config(folder / 'config.py', tiny.config(data, folder / 'unused', epochs=3))
    from mmengine.config import Config

    from mmyolonas.utils.building import build_model
    torch.manual_seed(0)
    cfg = Config(dict(default_scope='mmdet', model=tiny.model_config()))
    torch.save(dict(meta=dict(dataset_meta=dict(classes=tiny.CLASSES)),
                    state_dict=build_model(cfg).state_dict()), folder / 'model.pth')
    video = cv2.VideoWriter(str(folder / 'video.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 10,
                            (64, 64))
    for index in range(120):
        video.write(cv2.imread(str(data / f'{index % 24:03d}.png')))
    video.release()
    (folder / 'ready').touch()


def commands(folder: Path) -> Dict[str, List[str]]:
    """Return the command line of each tool; OUT stands for the folder of the results."""
    model = [f'{folder}/config.py', f'{folder}/model.pth']
    deploy = str(ROOT / 'configs/deploy/detection_onnxruntime_static.py')
    return {
        'train': ['tools/train.py', model[0], '--work-dir', 'OUT', '--resume'],
        'test': ['tools/test.py', *model, '--work-dir', 'OUT', '--out', 'OUT/results.pkl'],
        'image_demo': ['demo/image_demo.py', *model, f'{folder}/data', '--out-dir', 'OUT',
                       '--score-thr', '0.01', '--device', 'cpu'],
        'video_demo': ['demo/video_demo.py', *model, f'{folder}/video.avi', '--out',
                       'OUT/video.mp4', '--score-thr', '0.01', '--device', 'cpu'],
        'pseudo_label': ['tools/pseudo_label.py', *model, f'{folder}/data', '--out',
                         'OUT/labels.json', '--score-thr', '0.01', '--device', 'cpu'],
        'publish': ['tools/misc/publish_model.py', model[1], 'OUT/model.pth'],
        'sg2mm': ['tools/model_converters/sg2mm.py', model[1], 'OUT/sg.pth', '--reverse'],
        'browse': ['tools/analysis_tools/browse_dataset.py', model[0], '--out', 'OUT/grid.png'],
        'deploy': ['tools/deploy.py', deploy, *model, f'{folder}/data/000.png', '--work-dir',
                   'OUT', '--cfg-options', 'onnx_config.input_shape=[64,64]'],
        'finetune': ['tools/finetune.py', f'{folder}/data', '--work-dir', 'OUT', '--epochs', '1',
                     '--imgsz', '64', '--batch', '4', '--model', f'{folder}/model_config.py'],
    }


def start(words: List[str], out: Path, log: Path) -> subprocess.Popen:
    """Start a tool in a group of its own."""
    line = [word.replace('OUT', str(out)) for word in words]
    with open(log, 'a', encoding='utf-8') as file:
        return subprocess.Popen([sys.executable, str(ROOT / line[0]), *line[1:]], stdout=file,
                                stderr=subprocess.STDOUT, start_new_session=True,
                                env={**os.environ, 'PYTHONPATH': str(ROOT)}, cwd=out.parent)


def kill_group(process: subprocess.Popen) -> int:
    """Kill a tool and what it has started; return how many of its processes are left."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    for _ in range(50):  # children end with their parent
        left = members(process.pid)
        if not left:
            return 0
        time.sleep(0.1)
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    return len(left)


def members(group: int) -> List[int]:
    """Return the living processes of a group."""
    found = []
    for stat in Path('/proc').glob('[0-9]*/stat'):
        try:
            fields = stat.read_text().rpartition(')')[2].split()
        except OSError:
            continue
        if int(fields[2]) == group and fields[0] != 'Z':
            found.append(int(stat.parent.name))
    return found


def broken(out: Path) -> List[str]:
    """Return the files with final names that are not whole."""
    bad = []
    for path in out.rglob('*'):
        if not path.is_file() or path.name.startswith('.'):
            continue
        try:
            if path.suffix == '.json' and path.name != 'scalars.json' and (
                    'vis_data' not in path.parts):
                json.loads(path.read_text())
            elif path.suffix in ('.png', '.jpg'):
                assert cv2.imread(str(path)) is not None
            elif path.suffix == '.pth':
                read_checkpoint(path)
            elif path.suffix == '.onnx':
                import onnx
                onnx.checker.check_model(onnx.load(str(path)))
            elif path.suffix == '.mp4':
                assert cv2.VideoCapture(str(path)).read()[0]
        except Exception as error:
            bad.append(f'{path.relative_to(out)}: {type(error).__name__} {error}'[:200])
    return bad


def results(out: Path) -> Dict[str, object]:
    """Return what a run has made, in a form that can be compared."""
    found: Dict[str, object] = {}
    for path in sorted(out.rglob('*')):
        name = str(path.relative_to(out))
        if path.suffix == '.pth' and path.is_file():
            state = read_checkpoint(path).get('state_dict') or read_checkpoint(path).get('net')
            found[path.name.split('-')[0]] = float(sum(
                value.double().abs().sum() for value in state.values()))
        elif path.name in ('labels.json', 'predictions.jsonl', 'video.jsonl'):
            found[name] = path.read_text()
        elif path.suffix == '.onnx':
            found[name] = path.stat().st_size
    return found


def differ(one: Dict[str, object], other: Dict[str, object]) -> Optional[str]:
    """Return what differs between two runs' results."""
    for name in sorted({*one, *other}):
        first, second = one.get(name), other.get(name)
        same = np.isclose(first, second, rtol=1e-6) if isinstance(first, float) and isinstance(
            second, float) else first == second
        if not same:
            return name
    return None


def hidden(out: Path) -> List[str]:
    """Return what unfinished writers have left."""
    return [str(path.relative_to(out)) for path in out.rglob('.*') if 'part' in path.name]


def try_tool(name: str, words: List[str], kills: int, folder: Path, state: dict) -> None:
    """Run, kill and run again."""
    whole, log = folder / f'{name}_whole', folder / f'{name}.log'
    if name not in state:
        shutil.rmtree(whole, ignore_errors=True)
        begun = time.monotonic()
        code = start(words, whole, log).wait()
        state[name] = dict(seconds=time.monotonic() - begun, code=code, rows=[])
        if code:
            print(f'{name}: the undisturbed run fails, see {log}', flush=True)
    rows = state[name]['rows']
    expected = results(whole)
    while len(rows) < kills and not state[name]['code']:
        out = folder / f'{name}_killed'
        shutil.rmtree(out, ignore_errors=True)
        # the first seconds are imports
        share = 0.3 + 0.7 * (len(rows) + 0.5) / kills
        process = start(words, out, log)
        try:
            process.wait(state[name]['seconds'] * share)
            alive = False
        except subprocess.TimeoutExpired:
            alive = True
        orphans = kill_group(process) if alive else 0
        bad = broken(out) if out.is_dir() else []
        for path in out.rglob('.*part*') if out.is_dir() else ():
            os.utime(path, (0, 0))  # as if it had been a while ago
        code = start(words, out, log).wait()
        rows.append(dict(alive=alive, orphans=orphans, broken=bad, code=code,
                         differs=differ(expected, results(out)), left=hidden(out)))
        print(f'{name}, killed at {100 * share:.0f} %: {rows[-1]}', flush=True)
        write_json(folder / 'state.json', state)


def main() -> int:
    """Run the tool; the exit code is 1 if anything was lost."""
    args = parse_args()
    folder = args.work_dir.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    prepare(folder)
    (folder / 'model_config.py').write_text(f'model = {tiny.model_config()!r}\n')
    known = {name: words for name, words in commands(folder).items() if args.only in name}
    path = folder / 'state.json'
    state = read_json(path, 'the state of the kills') if path.is_file() else {}
    for number, (name, words) in enumerate(known.items()):
        share = args.kills // len(known) + (number < args.kills % len(known))
        try_tool(name, words, share, folder, state)
    rows = [row for item in state.values() for row in item['rows']]
    print(f'{len(rows)} kills, {sum(row["alive"] for row in rows)} of them while the tool ran: '
          f'{sum(row["orphans"] for row in rows)} orphans, '
          f'{sum(bool(row["broken"]) for row in rows)} with broken files, '
          f'{sum(bool(row["code"]) for row in rows)} that did not go on, '
          f'{sum(row["differs"] is not None for row in rows)} with other results, '
          f'{sum(bool(row["left"]) for row in rows)} with unfinished files left')
    lost = any(row['orphans'] or row['broken'] or row['code'] or row['differs'] or row['left']
               for row in rows)
    return 1 if lost or any(item['code'] for item in state.values()) else 0


if __name__ == '__main__':
    run_main(main)
