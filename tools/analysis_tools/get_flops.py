"""Count parameters and arithmetic of a model, before and after re-parameterisation.

A multiplication with an addition is one MAC (what mmdet prints as "FLOPs") and
two FLOPs. Convolutions and matrix products are counted; batch norms,
activations and sums are below one per cent of them.
"""
from functools import partial

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmyolonas.utils import arguments
from mmyolonas.utils.building import build_model, switch_to_deploy
from mmyolonas.utils.cli import add_config_options, new_parser, run_main
from mmyolonas.utils.configs import load_config
from mmyolonas.utils.errors import UserError

PARTS = ('backbone', 'neck', 'bbox_head', 'head')


def parse_args():
    """Return the command line's options."""
    parser = new_parser(__doc__)
    add_config_options(parser)
    parser.add_argument('--shape', type=arguments.positive_int, nargs='+', default=[640],
                        help='input side, or height and width, in pixels (default: 640)')
    return parser.parse_args()


def input_shape(shape: list) -> tuple:
    """Return (1, 3, height, width).

    Raises:
        UserError: There are not one or two numbers.
    """
    if len(shape) > 2:
        raise UserError(f'--shape takes one or two numbers, got {len(shape)}.')
    return 1, 3, shape[0], shape[-1]


@torch.no_grad()
def count(model: nn.Module, shape: tuple) -> dict:
    """Return (parameters, MACs) of the whole and of each part."""
    model.eval()
    parts = {name: getattr(model, name) for name in PARTS if hasattr(model, name)}
    flops = {}
    with FlopCounterMode(display=False) as counter:

        def start(module, inputs, name):
            flops[name] = flops.get(name, 0) - counter.get_total_flops()

        def stop(module, inputs, outputs, name):
            flops[name] += counter.get_total_flops()

        handles = [handle for name, part in parts.items() for handle in (
            part.register_forward_pre_hook(partial(start, name=name)),
            part.register_forward_hook(partial(stop, name=name)))]
        try:
            model(torch.zeros(shape), None, mode='tensor')
        finally:
            for handle in handles:
                handle.remove()
    # some hosts call the head's forward directly, past the hooks: it gets the rest
    rest = counter.get_total_flops() - sum(flops.values())
    result = {name: (_parameters(part), flops.get(name, rest) / 2)
              for name, part in parts.items()}
    result['total'] = _parameters(model), counter.get_total_flops() / 2
    return result


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def main() -> None:
    """Run the tool."""
    args = parse_args()
    shape = input_shape(args.shape)
    model = build_model(load_config(args.config, args.cfg_options))
    before = count(model, shape)
    after = count(switch_to_deploy(model), shape)
    print(f'{args.config} at {shape[2]}x{shape[3]}\n')
    print('| part | parameters | GMACs | GFLOPs | fused: parameters | GMACs | GFLOPs |')
    print('|---|---|---|---|---|---|---|')
    for name, (parameters, macs) in before.items():
        fused, fused_macs = after[name]
        print(f'| {name} | {parameters / 1e6:.2f}M | {macs / 1e9:.2f} | {2 * macs / 1e9:.2f} '
              f'| {fused / 1e6:.2f}M | {fused_macs / 1e9:.2f} | {2 * fused_macs / 1e9:.2f} |')


if __name__ == '__main__':
    run_main(main)
