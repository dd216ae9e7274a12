"""Latency of full INT8 beside float in ONNX Runtime and OpenVINO, interleaved.

Both files are those that tools/deploy.py makes, without suppression: float with the scales of
shortcuts folded into convolutions, 8 bit with transposed convolutions as convolutions. The
weights are random unless a checkpoint is given: the time does not depend on them. With
--processor-time a busy machine disturbs less (one thread).
"""
import argparse
import os
import tempfile
import time

import numpy as np
import torch

from mmyolonas.deploy.pipeline import load_model
from mmyolonas.export import export_onnx
from mmyolonas.quantization import calibrate, fuse_model, insert_qdq, quantise_model
from mmyolonas.quantization.deploying import export_float
from mmyolonas.runtime.factory import ONNX_BACKENDS, open_session
from mmyolonas.runtime.machine import cpu_name
from mmyolonas.runtime.timing import measure
from mmyolonas.utils.configs import load_config


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument('config', nargs='?', default='configs/yolonas/yolonas_s_coco.py')
    parser.add_argument('--checkpoint')
    parser.add_argument('--size', type=int, default=640)
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--repeats', type=int, default=15)
    parser.add_argument('--processor-time', action='store_true')
    return parser.parse_args()


def main() -> None:
    """Measure and print."""
    import onnx
    args = parse_args()
    torch.manual_seed(0)
    fused = fuse_model(load_model(load_config(args.config), args.checkpoint))
    shape = (1, 3, args.size, args.size)
    image = np.random.default_rng(0).random(shape, np.float32)
    with tempfile.TemporaryDirectory() as folder:
        plain, source = (os.path.join(folder, f'{name}.onnx') for name in ('float', 'source'))
        export_onnx(fused, plain, shape, nms='none', verify=False)
        export_float(fused, source, shape, verify=False)
        unfolded = onnx.load(source)
        table = calibrate(quantise_model(fused), [torch.from_numpy(image)], method='max')
        runs = {}
        for runtime in ONNX_BACKENDS:
            runs[f'{runtime} float'] = open_session(plain, runtime, num_threads=args.threads)
            path = os.path.join(folder, f'{runtime}.onnx')
            onnx.save(insert_qdq(unfolded, table, runtime), path)
            runs[f'{runtime} int8'] = open_session(path, runtime, num_threads=args.threads)
        clock = time.process_time if args.processor_time else time.perf_counter
        times = measure(runs, image, repeats=args.repeats, clock=clock)
    print(f'{cpu_name()}, {args.threads} threads, {args.size} px, {args.repeats} runs in turn')
    for name, value in times.items():
        base = times[f'{name.split()[0]} float']
        print(f'{name:<20} median {value.median:7.1f} ms ({value.median / base.median:.3f})  '
              f'best {value.best:7.1f} ms ({value.best / base.best:.3f})')


if __name__ == '__main__':
    main()
