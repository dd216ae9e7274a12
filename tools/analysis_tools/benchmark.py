"""Measure the speed of a model in PyTorch.

Times the network with decoding (or, with --predict, with suppression and the
scaling of the boxes as well) on images of noise, one by one, after a warm-up.
For exported models see tools/deploy.
"""
from contextlib import nullcontext
from typing import Callable

import torch
from torch import nn

from mmyolonas.runtime.timing import Latency, measure
from mmyolonas.utils import arguments, building
from mmyolonas.utils.cli import add_config_options, new_parser, run_main
from mmyolonas.utils.configs import load_config
from mmyolonas.utils.files import write_json
from mmyolonas.utils.outputs import check_file


def parse_args():
    """Return the command line's options."""
    parser = new_parser(__doc__)
    add_config_options(parser)
    parser.add_argument('checkpoint', nargs='?', help='checkpoint (random weights without one)')
    parser.add_argument('--shape', type=arguments.positive_int, nargs=2, default=[640, 640],
                        metavar=('H', 'W'))
    parser.add_argument('--batch-size', type=arguments.positive_int, default=1)
    parser.add_argument('--iterations', type=arguments.positive_int, default=100)
    parser.add_argument('--warmup', type=arguments.natural, default=10,
                        help='iterations that do not count')
    parser.add_argument('--device', type=arguments.device,
                        default='cuda' if torch.cuda.is_available() else 'cpu')
    parser.add_argument('--threads', type=arguments.positive_int, help='threads on a CPU')
    parser.add_argument('--no-fuse', action='store_true', help='do not re-parameterise')
    parser.add_argument('--channels-last', action='store_true')
    parser.add_argument('--dtype', choices=['float32', 'float16', 'bfloat16'], default='float32',
                        help='precision (autocast)')
    parser.add_argument('--predict', action='store_true', help='include post-processing')
    parser.add_argument('--out', help='write the result to this JSON file')
    return parser.parse_args()


def load_model(args) -> nn.Module:
    """Return the model, ready for inference."""
    cfg = load_config(args.config, args.cfg_options)
    model = building.load_model(cfg, args.checkpoint)[0] if args.checkpoint else \
        building.build_model(cfg)
    if not args.no_fuse:
        building.switch_to_deploy(model)
    model.eval().to(args.device)
    return model.to(memory_format=torch.channels_last) if args.channels_last else model


def data_samples(model: nn.Module, args) -> list:
    """Return one data sample for each image, with what post-processing reads."""
    height, width = args.shape
    meta = dict(ori_shape=(height, width), img_shape=(height, width), scale_factor=(1.0, 1.0),
                batch_input_shape=(height, width))
    if not hasattr(model, 'bbox_head'):
        import numpy as np
        from mmpose.structures import PoseDataSample
        size = np.array([width, height], np.float32)
        meta.update(input_size=size, input_scale=size, input_center=size / 2)
        from mmengine.structures import InstanceData
        return [PoseDataSample(metainfo=meta, gt_instances=InstanceData())
                for _ in range(args.batch_size)]
    from mmdet.structures import DetDataSample
    return [DetDataSample(metainfo=meta) for _ in range(args.batch_size)]


def make_step(model: nn.Module, args) -> Callable[[], None]:
    """Return a function that runs the model once and waits for the result."""
    images = torch.rand(args.batch_size, 3, *args.shape, device=args.device)
    if args.channels_last:
        images = images.contiguous(memory_format=torch.channels_last)
    head = getattr(model, 'bbox_head', None) or model.head
    samples = data_samples(model, args) if args.predict else None
    kind = torch.device(args.device).type
    dtype = getattr(torch, args.dtype)

    def step() -> None:
        context = nullcontext() if dtype == torch.float32 else torch.autocast(kind, dtype)
        with torch.no_grad(), context:
            if args.predict:
                model(images, samples, mode='predict')
            elif hasattr(head, 'decode'):
                head.decode(model.extract_feat(images))
            else:
                model(images, None, mode='tensor')
        if kind == 'cuda':
            torch.cuda.synchronize()

    return step


def summarise(latency: Latency, batch_size: int) -> dict:
    """Return mean, percentiles (ms) and images per second (of the median)."""
    percentiles = {f'p{share}': latency.percentile(share) for share in (50, 90, 99)}
    return dict(mean=latency.mean, **percentiles, min=latency.best,
                images_per_second=1e3 * batch_size / latency.median)


def main() -> None:
    """Run the tool."""
    args = parse_args()
    check_file(args.out)
    if args.threads:
        torch.set_num_threads(args.threads)
    latency, = measure({'': make_step(load_model(args), args)}, repeats=args.iterations,
                       warm_up=args.warmup, title='iterations').values()
    result = summarise(latency, args.batch_size)
    where = torch.cuda.get_device_name() if args.device.startswith('cuda') else (
        f'CPU, {torch.get_num_threads()} threads')
    print(f'{args.config}: batch {args.batch_size}, {args.shape[0]}x{args.shape[1]}, '
          f'{args.dtype}, {where}, torch {torch.__version__}')
    print('latency of a batch in ms: ' + ', '.join(
        f'{key} {result[key]:.2f}' for key in ('mean', 'p50', 'p90', 'p99', 'min')))
    print(f'{result["images_per_second"]:.1f} images/s')
    if args.out:
        write_json(args.out, dict(vars(args), device_name=where, **result))


if __name__ == '__main__':
    run_main(main)
