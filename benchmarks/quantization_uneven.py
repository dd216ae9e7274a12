"""A hard case for 8 bit with a known answer: the same float network with uneven channels.

Some tensors of a trained checkpoint get channels of very different size: each channel of a layer
is multiplied by a factor exp(spread * z), z normal, behind its batch norm, and the layers that
read it (through a ReLU) are divided by it. In float the network computes what it did, and one
step for all channels of such a tensor no longer does. Trained networks come by such channels on
their own (Nagel et al. 2019, arXiv 1906.04721); here it is known which tensors have them, so
that a choice of what stays float can be judged. Writes a checkpoint beside the names of the
layers.
"""
import argparse
import sys
from pathlib import Path
from typing import Any, List

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from mmyolonas.utils.cli import add_config_options, new_parser, run_main  # noqa: E402
from mmyolonas.utils.configs import load_config  # noqa: E402
from mmyolonas.utils.files import atomic_path, write_json  # noqa: E402


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__, '')
    add_config_options(parser)
    parser.add_argument('checkpoint')
    parser.add_argument('out', type=Path, help='checkpoint to write')
    parser.add_argument('--tensors', type=int, default=5, help='how many (default: 5)')
    parser.add_argument('--spread', type=float, default=1.5,
                        help='standard deviation of the logarithm of the factors (default: 1.5)')
    parser.add_argument('--seed', type=int, default=0)
    return parser.parse_args()


def block_of(model: Any, layer: str) -> Any:
    """Return the unfused block of a fused layer."""
    name = layer.rpartition('.')[0] if layer.endswith(('.conv', '.rbr_reparam')) else layer
    return model.get_submodule(name)


def readable(block: Any) -> List[Any]:
    """Return the convolutions that read the input of a block; none if an identity does too."""
    from torch import nn
    if isinstance(block, nn.Conv2d):
        return [block]
    if hasattr(block, 'branch_3x3'):
        return [] if block.use_residual else [block.branch_3x3.conv, block.branch_1x1]
    return [block.conv]


def norm_of(block: Any) -> Any:
    """Return the norm that ends a block before its activation, or None."""
    from torch import nn
    norm = block.post_bn if hasattr(block, 'post_bn') else getattr(block, 'norm', None)
    return norm if isinstance(norm, nn.BatchNorm2d) else None


def make_uneven(model: Any, count: int, spread: float, seed: int) -> List[str]:
    """Multiply and divide in place; return the layers whose outputs became uneven."""
    import torch

    from mmyolonas.quantization import fuse_model
    from mmyolonas.quantization.graph.dataflow import analyse
    from mmyolonas.quantization.graph.trace import trace
    from mmyolonas.quantization.ranges.correction import _pairs
    fused = fuse_model(model)
    pairs = {maker: readers for maker, readers in _pairs(fused, analyse(trace(fused))).items()
             if norm_of(block_of(model, maker)) is not None
             and all(readable(block_of(model, reader)) for reader in readers)}
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(pairs), generator=generator)[:count].tolist()
    chosen = [list(pairs)[place] for place in sorted(order)]
    with torch.no_grad():
        for maker in chosen:
            norm = norm_of(block_of(model, maker))
            factors = torch.exp(spread * torch.randn(len(norm.weight), generator=generator))
            norm.weight *= factors
            norm.bias *= factors
            for reader in pairs[maker]:
                for conv in readable(block_of(model, reader)):
                    conv.weight /= factors[None, :, None, None]
    return chosen


def main() -> None:
    """Write the checkpoint."""
    import torch

    from mmyolonas.deploy.pipeline import load_model
    args = parse_args()
    model = load_model(load_config(args.config, args.cfg_options), args.checkpoint)
    image = torch.rand(1, 3, 192, 192, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        before = model(image, None, mode='tensor')
        chosen = make_uneven(model, args.tensors, args.spread, args.seed)
        after = model(image, None, mode='tensor')
    difference = max(float((one - two).abs().max()) for one, two in zip(
        torch.utils._pytree.tree_leaves(before), torch.utils._pytree.tree_leaves(after)))
    print(f'{", ".join(chosen)}: outputs differ by {difference:.2g} in float')
    args.out.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(args.out) as path:
        torch.save(dict(state_dict=model.state_dict(), meta={}), path)
    write_json(args.out.with_suffix('.json'), dict(
        layers=chosen, spread=args.spread, seed=args.seed, difference=difference))


if __name__ == '__main__':
    run_main(main)
