"""Do the quantised model in PyTorch and its exported files say the same?

Scores test images with fake-quantisers in PyTorch and with the Q/DQ files in the runtimes, from
the float.onnx and ranges.json that tools/quantize.py left, and compares the detections: boxes of
the same class and image that overlap most are matched. How near two computations can come to
each other at all is shown by PyTorch with another convolution algorithm: sums in another order
round to another of the 255 steps here and there, and what follows sees other numbers.
Optionally builds the TensorRT spelling.

    python tools/quantize.py CONFIG CHECKPOINT --work-dir work_dirs/int8
    python benchmarks/quantization_agreement.py CONFIG CHECKPOINT --quantized work_dirs/int8
"""
import argparse
import sys
import time
from pathlib import Path
from typing import Any, Dict, List

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mmyolonas.utils.cli import add_config_options, new_parser, run_main  # noqa: E402
from mmyolonas.utils.configs import load_config  # noqa: E402
from mmyolonas.utils.errors import UserError  # noqa: E402
from mmyolonas.utils.files import write_json, write_onnx  # noqa: E402

SPELLINGS = {'onnxruntime': 'onnxruntime', 'openvino': 'openvino', 'tensorrt': 'onnxruntime'}


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__, '')
    add_config_options(parser)
    parser.add_argument('checkpoint', help='trained weights')
    parser.add_argument('--quantized', type=Path, required=True, help='work folder of '
                        'tools/quantize.py')
    parser.add_argument('--images', type=int, help='test images (default: all)')
    parser.add_argument('--score-thr', type=float, default=0.25, help='detections that are '
                        'matched (default: 0.25)')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--engine', action='store_true', help='build the TensorRT-RTX engine too')
    parser.add_argument('--out', type=Path, help='write the figures as JSON')
    return parser.parse_args()


def detections(score: Any, threshold: float) -> Dict[tuple, List[tuple]]:
    """Return boxes and scores by image and class."""
    found: Dict[tuple, List[tuple]] = {}
    for item in score.evaluation.cocoDt.anns.values():
        if item['score'] >= threshold:
            x, y, width, height = item['bbox']
            found.setdefault((item['image_id'], item['category_id']), []).append(
                ((x, y, x + width, y + height), item['score']))
    return found


def compare(one: Any, other: Any, threshold: float) -> Dict[str, float]:
    """Match the detections of ``one`` with those of ``other``; return how far they differ.

    A detection of ``one`` may meet one below the threshold in ``other``.
    """
    import torch

    from mmyolonas.models.utils import pairwise_iou
    wanted, given = detections(one, threshold), detections(other, threshold / 2)
    pixels, scores, total = [], [], 0
    for key, mine in wanted.items():
        total += len(mine)
        theirs = given.get(key)
        if not theirs:
            continue
        a = torch.tensor([box for box, _ in mine])
        b = torch.tensor([box for box, _ in theirs])
        overlap, index = pairwise_iou(a[None], b[None])[0].max(1)
        for row in (overlap > 0.5).nonzero().flatten().tolist():
            pixels.append(float((a[row] - b[index[row]]).abs().max()))
            scores.append(abs(mine[row][1] - theirs[index[row]][1]))
    if not pixels:
        raise UserError('no detection was matched; lower --score-thr or train for longer.')
    return dict(detections=total, matched=len(pixels), median_px=float(np.median(pixels)),
                p99_px=float(np.quantile(pixels, 0.99)), max_px=max(pixels),
                max_score=max(scores))


def main() -> None:
    """Compare and print."""
    import onnx
    import torch

    from mmyolonas.deploy.pipeline import load_model
    from mmyolonas.quantization import RangeTable, fuse_model, insert_qdq, quantise_model
    from mmyolonas.quantization.choice.scoring import Scorer
    from mmyolonas.quantization.ranges.images import keep_samples, load_samples
    from mmyolonas.runtime import open_session
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    ranges = RangeTable.load(args.quantized / 'ranges.json')
    if not (args.quantized / 'float.onnx').is_file():
        raise UserError(f'{args.quantized} has no float.onnx; run tools/quantize.py first.')
    model = load_model(cfg, args.checkpoint)
    samples = keep_samples(load_samples(cfg, model, 'test', args.images), args.images)
    scorer = Scorer.from_config(cfg, model, samples)
    float_score = scorer.score(label='AP of float in PyTorch')
    quantized = quantise_model(fuse_model(model))
    quantized.load(ranges)
    fake = scorer.score(quantized.model, 'AP of fake-quantised PyTorch')
    rows: Dict[str, Dict[str, float]] = {
        'float, PyTorch': dict(ap=float_score.ap), 'fake-quantised, PyTorch': dict(ap=fake.ap)}
    with torch.backends.mkldnn.flags(enabled=False):
        again = scorer.score(quantized.model, 'AP with another convolution algorithm')
    rows['the same without oneDNN'] = dict(ap=again.ap, **compare(fake, again, args.score_thr))
    exported = onnx.load(str(args.quantized / 'float.onnx'))
    for spelling, runtime in SPELLINGS.items():
        path = args.quantized / f'agreement_{spelling}.onnx'
        write_onnx(path, insert_qdq(exported, ranges, spelling))
        score = scorer.score_file(open_session(str(path), runtime, num_threads=args.threads),
                                  f'AP of the {spelling} file')
        rows[f'{spelling} file in {runtime}'] = dict(
            ap=score.ap, **compare(fake, score, args.score_thr))
    print('| | AP | matched | px, median | px, 99 % | px, largest | score, largest |\n'
          '| --- | --- | --- | --- | --- | --- | --- |')
    for name, row in rows.items():
        cells = [f'{row["matched"]}/{row["detections"]}', f'{row["median_px"]:.3f}',
                 f'{row["p99_px"]:.3f}', f'{row["max_px"]:.2f}',
                 f'{row["max_score"]:.4f}'] if 'matched' in row else [''] * 5
        print(f'| {name} | {row["ap"]:.2f} | ' + ' | '.join(cells) + ' |')
    if args.engine:
        from mmyolonas.deploy import EngineOptions, build_engine
        start = time.monotonic()
        info = build_engine(str(args.quantized / 'agreement_tensorrt.onnx'),
                            str(args.quantized / 'agreement.engine'), 'tensorrt_rtx',
                            EngineOptions(precision='int8'))
        rows['engine'] = dict(seconds=time.monotonic() - start, mib=info.size / 2**20)
        print(f'TensorRT-RTX built the file in {rows["engine"]["seconds"]:.0f} s: '
              f'{rows["engine"]["mib"]:.1f} MiB')
    if args.out:
        write_json(args.out, rows)


if __name__ == '__main__':
    run_main(main)
