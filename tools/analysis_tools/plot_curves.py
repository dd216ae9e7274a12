"""Plot losses, learning rate and validation metrics of trainings."""
from pathlib import Path

from mmyolonas.utils.cli import new_parser, run_main
from mmyolonas.utils.outputs import check_file
from mmyolonas.visualization import plot_curves, read_log

EXAMPLES = '''examples:
  python tools/analysis_tools/plot_curves.py work_dirs/yolonas_s_bccd
  python tools/analysis_tools/plot_curves.py runs/a runs/b --out compare.png'''


def parse_args():
    """Return the command line's options."""
    parser = new_parser(__doc__, EXAMPLES)
    parser.add_argument('work_dirs', nargs='+', help='work folders (or scalars.json files); the '
                        'parts of a resumed training are joined')
    parser.add_argument('--out', help='picture to write (default: curves.png in the first folder)')
    parser.add_argument('--metrics', nargs='+', help='metrics to draw, for example '
                        'coco/bbox_mAP_75 (default: the mAPs)')
    parser.add_argument('--title', help='title of the picture')
    return parser.parse_args()


def main() -> None:
    """Run the tool."""
    args = parse_args()
    check_file(args.out)
    first = Path(args.work_dirs[0])
    out = args.out or (first.parent if first.is_file() else first) / 'curves.png'
    logs = {str(folder).rstrip('/'): read_log(folder) for folder in args.work_dirs}
    plot_curves(logs, out, args.metrics, args.title)
    print(f'written to {out}')
    for name, log in logs.items():
        for metric, (epochs, values) in log.val.items():
            if 'time' not in metric:
                best = max(range(len(values)), key=lambda i: (values[i] == values[i], values[i]))
                print(f'{name}  {metric}: last {values[-1]:.4f}, best {values[best]:.4f} at '
                      f'epoch {epochs[best]:g}')


if __name__ == '__main__':
    run_main(main)
