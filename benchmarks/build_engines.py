"""Export all seven models, run them in ONNX Runtime and OpenVINO, and build their engines.

TensorRT-RTX builds without a GPU, so this runs anywhere. The table has the size of the ONNX file
and its nodes, the largest difference of decoded boxes (pixels) and scores from PyTorch in each
runtime, and the seconds and the size of the engines.

    python benchmarks/build_engines.py --out engines.json
"""
import argparse
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import write_json

MODELS = ('yolonas_s', 'yolonas_m', 'yolonas_l', 'yolonas_pose_n', 'yolonas_pose_s',
          'yolonas_pose_m', 'yolonas_pose_l')


def build_model(name: str) -> Any:
    """Return a model of a published config with deterministic weights and spread-out scores."""
    import torch
    from mmengine.config import Config

    from mmyolonas.deploy.pipeline import load_model
    family = 'yolonas_pose' if 'pose' in name else 'yolonas'
    cfg = Config.fromfile(Path(__file__).resolve().parent.parent / 'configs' / family /
                          f'{name}_coco.py')
    torch.manual_seed(0)
    model = load_model(cfg, None)
    head = model.head if 'pose' in name else model.bbox_head
    for level in head.levels:
        torch.nn.init.normal_(level.cls_pred.weight, std=0.5)
        torch.nn.init.normal_(level.reg_pred.weight, std=0.5)
    return model, head


def differences(path: str, model: Any, head: Any, size: int) -> Dict[str, float]:
    """Return the largest differences from PyTorch per runtime."""
    import numpy as np
    import torch

    from mmyolonas.runtime import open_session
    image = np.random.default_rng(1).random((1, 3, size, size), np.float32)
    with torch.no_grad():
        expected = head.decode(model.neck(model.backbone(torch.from_numpy(image))))
    result = {}
    for backend in ('onnxruntime', 'openvino'):
        with open_session(path, backend) as session:
            got = session.run({'input': image})
        for key, value in zip(('boxes', 'scores', 'keypoints'), expected):
            result[f'{backend} {key}'] = float(np.abs(got[key] - value.numpy()).max())
    return result


def examine(name: str, folder: str, args: argparse.Namespace) -> Dict[str, Any]:
    """Export and build one model; return the figures."""
    from mmyolonas.deploy import EngineOptions, build_engine
    from mmyolonas.export import export_onnx
    model, head = build_model(name)
    shape = (1, 3, args.size, args.size)
    row: Dict[str, Any] = dict(model=name)
    nms = export_onnx(model, os.path.join(folder, f'{name}_nms.onnx'), shape, nms='onnx',
                      verify=False)
    path = os.path.join(folder, f'{name}.onnx')
    report = export_onnx(model, path, shape, nms='none', verify=False)
    row.update(nodes=report.num_nodes, nodes_with_nms=nms.num_nodes, mib=report.size / 2**20)
    row.update(differences(path, model, head, args.size))
    for precision in ('fp32', 'fp16'):
        info = build_engine(path, os.path.join(folder, f'{name}_{precision}.engine'),
                            'tensorrt_rtx', EngineOptions(precision=precision))
        row[f'{precision} seconds'] = info.seconds
        row[f'{precision} mib'] = info.size / 2**20
    for file in os.listdir(folder):
        os.unlink(os.path.join(folder, file))
    return row


def table(rows: List[Dict[str, Any]]) -> str:
    """Return the figures as Markdown."""
    keys = list(dict.fromkeys(key for row in rows for key in row))
    lines = ['| ' + ' | '.join(keys) + ' |', '|' + ' --- |' * len(keys)]
    for row in rows:
        cells = [row.get(key, '') for key in keys]
        lines.append('| ' + ' | '.join(
            f'{cell:.2g}' if isinstance(cell, float) and cell < 1 else
            f'{cell:.1f}' if isinstance(cell, float) else str(cell) for cell in cells) + ' |')
    return '\n'.join(lines)


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--models', nargs='+', choices=MODELS, default=MODELS)
    parser.add_argument('--size', type=int, default=640)
    parser.add_argument('--out', help='write the figures as JSON')
    args = parser.parse_args()
    import mmyolonas  # noqa: F401
    rows, start = [], time.monotonic()
    for index, name in enumerate(args.models):
        with tempfile.TemporaryDirectory() as folder:
            rows.append(examine(name, folder, args))
        spent = time.monotonic() - start
        eta = spent / (index + 1) * (len(args.models) - index - 1)
        print(f'{name} done, {spent:.0f} s, ETA {eta:.0f} s', file=sys.stderr)
    print(table(rows))
    if args.out:
        write_json(args.out, rows=rows)


if __name__ == '__main__':
    main()
