"""Our 8-bit files beside those of other tools, made from the same float ONNX file.

AP on the test images with the interval of what is lost against float, latency interleaved in one
run, and the minutes each tool took. Without peers (--peers) it is the frontier of our own files.
With --no-timing the files are made and scored; a second run times them. The
peers (onnxruntime.quantization, modelopt.onnx, NNCF) live in an environment of their own:

  python -m venv .venv-quant
  .venv-quant/bin/pip install nncf openvino 'nvidia-modelopt[onnx]' onnxruntime

Files that are there are not made again.
"""
import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Dict, List, Optional

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mmyolonas.runtime.machine import cpu_name  # noqa: E402
from mmyolonas.utils import UserError  # noqa: E402
from mmyolonas.utils.cli import add_config_options, new_parser, run_main  # noqa: E402
from mmyolonas.utils.configs import load_config  # noqa: E402
from mmyolonas.utils.files import read_json, write_json, write_text  # noqa: E402

#: File, and the runtimes it is meant for.
PEERS = dict(
    onnxruntime=('onnx', ('onnxruntime', 'openvino')),
    onnxruntime_tuned=('onnx', ('onnxruntime', 'openvino')),
    onnxruntime_excluded=('onnx', ('onnxruntime', 'openvino')),
    modelopt=('onnx', ('onnxruntime', 'openvino')),
    modelopt_excluded=('onnx', ('onnxruntime', 'openvino')),
    nncf=('xml', ('openvino',)),
    nncf_ignored=('xml', ('openvino',)),
    nncf_accuracy=('xml', ('openvino',)))


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__, '')
    add_config_options(parser)
    parser.add_argument('checkpoint')
    parser.add_argument('--ours', type=Path, nargs='+', required=True, help='work folders of '
                        'tools/quantize.py: all files of their reports take part')
    parser.add_argument('--peer-python', default='.venv-quant/bin/python')
    parser.add_argument('--peers', nargs='*', choices=list(PEERS), default=list(PEERS))
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/quantization_peers'))
    parser.add_argument('--calib-images', type=int, default=64)
    parser.add_argument('--control-images', type=int, default=24,
                        help='validation images of the accuracy-controlled peer')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=15)
    parser.add_argument('--no-timing', action='store_true')
    parser.add_argument('--native', action='store_true', help="each peer's file in its own "
                        'runtime alone (default: ONNX files in both)')
    return parser.parse_args()


def save_images(cfg: Any, model: Any, split: str, count: int, path: Path) -> List[Any]:
    """Write a split's network inputs as one array; return the samples."""
    from mmyolonas.quantization.ranges.images import keep_samples, load_samples
    samples = keep_samples(load_samples(cfg, model, split, count), count)
    np.save(path, np.concatenate([sample.inputs.numpy() for sample in samples]))
    return samples


def make_peer(args: argparse.Namespace, name: str, source: Path, judge: Any) -> Optional[Path]:
    """Let a peer make its file; None if it fails."""
    path = args.work_dir / f'{name}.{PEERS[name][0]}'
    notes = path.with_suffix('.json')
    if path.exists() and notes.exists():
        return path
    print(f'{name} ...', flush=True)
    start = time.monotonic()
    command = [args.peer_python, str(ROOT / 'benchmarks' / 'quantization_makers.py'), name,
               str(source), str(args.work_dir / 'calibration.npy'),
               str(args.work_dir / 'validation.npy'), str(path)]
    with open(args.work_dir / f'{name}.log', 'w', encoding='utf-8') as log:
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                   stderr=log, text=True)
        for line in process.stdout:
            log.write(line)
            if line.startswith('score '):
                file = Path(line[6:].strip())
                outputs = np.load(file)
                rows = iter(zip(*(outputs[f'output{place}']
                                  for place in range(len(outputs.files) - 1))))
                part = judge.on(outputs['indices'].tolist())
                score = part.score_file(
                    lambda image, rows=rows: [array[None] for array in next(rows)])
                file.unlink()
                print(f'  asks for the AP of a model: {score.ap:.2f}', flush=True)
                process.stdin.write(f'{score.ap / 100}\n')
                process.stdin.flush()
    if process.wait() or not path.exists():
        print(f'  failed; see {args.work_dir / name}.log')
        return None
    write_json(notes, dict(minutes=(time.monotonic() - start) / 60))
    return path


def collect(args: argparse.Namespace, source: Path, judge: Any) -> Dict[str, List[dict]]:
    """Return what takes part, by runtime."""
    rows: Dict[str, List[dict]] = dict(onnxruntime=[], openvino=[])
    for folder in args.ours:
        report = json.loads((folder / 'report.json').read_text())
        runtime = report['runtime']
        if runtime not in rows:
            raise UserError(f'{folder}: made for {runtime}, which does not run here.')
        for row in report['rows']:
            spent = report['seconds']
            minutes = None if row['name'] == 'float' or not spent else sum(
                spent.values() if row['name'] == 'selective' else [spent['calibration']]) / 60
            name = row['name'] if row['name'] == 'float' else f'ours, {folder.name} {row["name"]}'
            if name not in [known['name'] for known in rows[runtime]]:
                rows[runtime].append(dict(name=name, path=row['path'], minutes=minutes))
    for name in args.peers:
        path = make_peer(args, name, source, judge)
        if path is not None:
            minutes = json.loads(path.with_suffix('.json').read_text())['minutes']
            for runtime in PEERS[name][1][:1] if args.native else PEERS[name][1]:
                rows[runtime].append(dict(name=name, path=str(path), minutes=minutes))
    return rows


def examine(args: argparse.Namespace, runtime: str, rows: List[dict], scorer: Any) -> None:
    """Score and time the files of a runtime."""
    from mmyolonas.runtime import open_session
    from mmyolonas.runtime.timing import measure
    runs = {}
    for row in list(rows):
        try:
            runs[row['name']] = open_session(row['path'], runtime, num_threads=args.threads)
        except Exception as error:  # a runtime that cannot open a peer's file is a result
            print(f'{runtime} cannot open {row["path"]}: {str(error)[:200]}')
            rows.remove(row)
    known = args.work_dir / f'scores_{runtime}.json'
    scores = read_json(known, 'scores of this benchmark') if known.is_file() else {}
    plain = None
    for row in rows:
        key = f'{row["path"]} {Path(row["path"]).stat().st_mtime}'
        if key not in scores:
            score = scorer.score_file(runs[row['name']], f'{runtime} {row["name"]}')
            plain = plain or (score if row['name'] == 'float' else
                              scorer.score_file(runs['float'], f'{runtime} float'))
            scores[key] = dict(ap=score.ap, ap50=score.ap50, lost=plain.ap - score.ap,
                               interval=list(score.interval(plain, 100)))
            write_json(known, scores)
        row.update(scores[key])
    if args.no_timing:
        return
    image = scorer.samples[0].inputs.numpy()
    times = measure(runs, image, repeats=args.repeats)
    for row in rows:
        row.update(ms=times[row['name']].median, best_ms=times[row['name']].best)


def table(figures: Dict[str, List[dict]]) -> str:
    """Return the figures as Markdown."""
    lines = ['| runtime | file | AP | AP lost | ms | of float | minutes to make |',
             '|' + '---|' * 7]
    for runtime, rows in figures.items():
        base = next((row.get('ms') for row in rows if row['name'] == 'float'), None)
        for row in rows:
            minutes = '' if row['minutes'] is None else f'{row["minutes"]:.1f}'
            lost = '' if row['name'] == 'float' else (
                f'{row["lost"]:+.2f} [{row["interval"][0]:+.2f}, {row["interval"][1]:+.2f}]')
            times = f'{row["ms"]:.1f} | {row["ms"] / base:.2f}' if base else ' | '
            lines.append(f'| {runtime} | {row["name"]} | {row["ap"]:.2f} | {lost} | {times} | '
                         f'{minutes} |')
    return '\n'.join(lines) + '\n'


def main() -> None:
    """Run the comparison."""
    args = parse_args()
    args.work_dir = args.work_dir.absolute()
    args.work_dir.mkdir(parents=True, exist_ok=True)
    from mmyolonas.deploy.pipeline import load_model
    from mmyolonas.quantization.choice.scoring import Scorer
    from mmyolonas.quantization.ranges.images import keep_samples, load_samples
    cfg = load_config(args.config, args.cfg_options)
    model = load_model(cfg, args.checkpoint)
    save_images(cfg, model, 'train', args.calib_images, args.work_dir / 'calibration.npy')
    judged = save_images(cfg, model, 'val', args.control_images, args.work_dir / 'validation.npy')
    judge = Scorer.from_config(cfg, model, judged, 'val')
    figures = collect(args, args.ours[0] / 'float.onnx', judge)
    scorer = Scorer.from_config(cfg, model, keep_samples(load_samples(cfg, model, 'test')))
    figures = {runtime: rows for runtime, rows in figures.items() if any(
        row['name'] == 'float' for row in rows)}
    for runtime, rows in figures.items():
        examine(args, runtime, rows, scorer)
    write_json(args.work_dir / 'figures.json', figures)
    text = table(figures)
    write_text(args.work_dir / 'table.md', text)
    print(f'{text}{cpu_name()}, {args.threads} threads, {len(scorer.samples)} test images')


if __name__ == '__main__':
    run_main(main)
