"""Convert YOLO-NAS checkpoints between SuperGradients and this project.

SRC is a file of SuperGradients: with `ema_net` (preferred), `net`, or a bare
state dict; unfused, partially or fully fused; any number of classes; detection
S, M, L, pose N, S, M, L, or another architecture of the family. With --reverse
SRC is one of our checkpoints and DST can be loaded strictly by the original.

Nothing is written if a tensor is left over or missing. Without DST nothing is written at
all: it says which model SRC holds, and whether it is one of the published files.
"""
from typing import Optional

from torch import nn

from mmyolonas.model_converters import (
    ConversionReport,
    from_supergradients,
    pose_start_weights,
    to_supergradients,
)
from mmyolonas.model_converters.published import LICENCE, PUBLISHED, name_of
from mmyolonas.utils.building import build_model
from mmyolonas.utils.checkpoints import read_checkpoint
from mmyolonas.utils.cli import add_cfg_options, new_parser, run_main
from mmyolonas.utils.configs import load_config
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import write_checkpoint
from mmyolonas.utils.outputs import check_distinct, check_file

EXAMPLES = '''examples:
  python tools/model_converters/sg2mm.py unknown.pth
  python tools/model_converters/sg2mm.py yolo_nas_s_coco.pth yolonas_s.pth
  python tools/model_converters/sg2mm.py ckpt_best.pth mine.pth --config my_config.py --trust
  python tools/model_converters/sg2mm.py mine.pth for_supergradients.pth --reverse
  python tools/model_converters/sg2mm.py yolo_nas_s_coco.pth pose_start.pth --init-pose'''


def parse_args():
    """Return the command line's options."""
    parser = new_parser(__doc__, EXAMPLES)
    parser.add_argument('src', metavar='SRC', help='checkpoint to convert')
    parser.add_argument('dst', metavar='DST', nargs='?', help='file to write (default: none, SRC '
                        'is only named)')
    parser.add_argument(
        '--config', help='config of the model; the converted weights are then loaded strictly '
        'into it as a check (by default the architecture is read off the shapes)')
    add_cfg_options(parser)
    direction = parser.add_mutually_exclusive_group()
    direction.add_argument('--reverse', action='store_true',
                           help='convert one of our checkpoints to SuperGradients')
    direction.add_argument(
        '--init-pose', action='store_true', help='SRC is a detection checkpoint (either kind); '
        'write the weights that a pose model of the same size can start from')
    parser.add_argument('--trust', action='store_true', help='read any Python object in SRC; this '
                        'runs code that SRC may contain, so only for files you trust')
    return parser.parse_args()


def model_of(args) -> Optional[nn.Module]:
    """Build the model of ``--config``, or return None without one."""
    if args.config is None:
        return None
    return build_model(load_config(args.config, args.cfg_options))


def check_load(model: nn.Module, checkpoint: dict) -> str:
    """Load the result strictly into the config's model; return a sentence."""
    state = model.state_dict()
    classes = [key for key, value in checkpoint['state_dict'].items()
               if value.shape != state[key].shape]
    model.load_state_dict({
        key: state[key] if key in classes else value
        for key, value in checkpoint['state_dict'].items()
    }, strict=True)
    if classes:
        return ('  the config has another number of classes or key points: everything but its '
                f'prediction layers ({len(classes)} tensors) loads')
    return '  loads strictly into the model of the config'


def convert(args):
    """Return the converted checkpoint and its report."""
    checkpoint = read_checkpoint(args.src, args.trust)
    if args.reverse:
        return to_supergradients(checkpoint, args.src)
    model = model_of(args)
    if args.init_pose:
        return pose_start_weights(checkpoint, args.src, model)
    converted, report = from_supergradients(checkpoint, args.src, model)
    if model is not None and report.complete:
        report.notes.append(check_load(model, converted).strip())
    return converted, report


def refuse_incomplete(report: ConversionReport) -> None:
    """Raise if a tensor found no place."""
    if not report.complete:
        raise UserError(
            f'{len(report.left_over)} tensors are left over and {len(report.missing)} are missing '
            '(listed above); nothing was written. If the model is not a plain YOLO-NAS, give its '
            'config with --config.')


def main() -> None:
    """Run the tool."""
    args = parse_args()
    if args.dst is not None:
        check_file(args.dst, 'DST')
        check_distinct({'DST': args.dst}, {'SRC': args.src})
    converted, report = convert(args)
    print(report.text())
    name = name_of(args.src)
    if name is not None:
        print(f'  by its SHA-256 it is {name}.pth as published ({PUBLISHED[name].model}); '
              f'{LICENCE} holds')
    if args.dst is None:
        return
    if not args.init_pose:
        refuse_incomplete(report)
    write_checkpoint(args.dst, converted)
    print(f'  written to {args.dst}')


if __name__ == '__main__':
    run_main(main)
