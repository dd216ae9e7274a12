"""Strip a training checkpoint to what inference needs.

Weights (the average, where one was kept) and the meta remain; optimizer,
schedules, logs and the raw weights go. The name of the file gets the first
eight characters of its SHA-256.
"""
import hashlib
from pathlib import Path

from mmyolonas.utils.checkpoint_match import meta_of, state_of
from mmyolonas.utils.checkpoints import read_checkpoint
from mmyolonas.utils.cli import new_parser, run_main
from mmyolonas.utils.files import write_checkpoint
from mmyolonas.utils.outputs import check_distinct, check_file


def parse_args():
    """Return the command line's options."""
    parser = new_parser(__doc__)
    parser.add_argument('src', metavar='SRC', help='checkpoint of a training')
    parser.add_argument('dst', metavar='DST', help='file to write, for example model.pth, which '
                        'becomes model-0123abcd.pth')
    parser.add_argument('--half', action='store_true', help='store the weights in half precision')
    parser.add_argument('--trust', action='store_true', help='read any Python object in SRC; this '
                        'runs code that SRC may contain, so only for files you trust')
    return parser.parse_args()


def main() -> None:
    """Run the tool."""
    args = parse_args()
    check_file(args.dst, 'DST')
    check_distinct({'DST': args.dst}, {'SRC': args.src})
    checkpoint = read_checkpoint(args.src, args.trust)
    state = state_of(checkpoint, args.src)
    if args.half:
        state = {key: value.half() if value.is_floating_point() else value
                 for key, value in state.items()}
    meta = meta_of(checkpoint)
    for key in ('hook_msgs', 'time', 'experiment_name'):
        meta.pop(key, None)
    target = Path(args.dst)
    write_checkpoint(target, dict(meta=meta, state_dict=state))
    digest = hashlib.sha256(target.read_bytes()).hexdigest()
    final = target.with_name(f'{target.stem}-{digest[:8]}{target.suffix or ".pth"}')
    target.replace(final)
    before, after = Path(args.src).stat().st_size, final.stat().st_size
    print(f'{final} ({after / 1e6:.1f} MB, {args.src} has {before / 1e6:.1f} MB)')


if __name__ == '__main__':
    run_main(main)
