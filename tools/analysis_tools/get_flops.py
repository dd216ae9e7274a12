"""Count parameters and arithmetic of a model, before and after re-parameterisation.

A multiplication with an addition is one MAC (what mmdet prints as "FLOPs") and
two FLOPs. Convolutions and matrix products are counted; batch norms,
activations and sums are below one per cent of them.
"""
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmyolonas.utils.building import build_model, switch_to_deploy
from mmyolonas.utils.cli import add_config_options, load_config, new_parser, run_main
from mmyolonas.utils.errors import UserError

PARTS = ('backbone', 'neck', 'bbox_head', 'head')


def parse_args():
    """Return the command line's options."""
    parser = new_parser(__doc__)
    add_config_options(parser)
    parser.add_argument('--shape', type=int, nargs='+', default=[640],
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
    with FlopCounterMode(display=False, depth=2) as counter:
        model(torch.zeros(shape), None, mode='tensor')
    flops = {name.split('.')[-1]: sum(ops.values())
             for name, ops in counter.get_flop_counts().items()}
    parts = {name: _parameters(getattr(model, name)) for name in PARTS if hasattr(model, name)}
    # hosts call the head's forward directly, past the counter: it gets the rest
    rest = counter.get_total_flops() - sum(flops.get(name, 0) for name in parts)
    result = {name: (parameters, (flops.get(name) or rest) / 2)
              for name, parameters in parts.items()}
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
