"""The whole road on generated data: sample images, training, evaluation, pictures.

About ten minutes on two CPU cores. Each stage is timed and is not repeated when
the tool is called again; an interrupted training continues where it was. A
table with the results is printed and written to summary.md in the work folder.
"""
import argparse

from mmyolonas.utils import arguments
from mmyolonas.utils.cli import new_parser, run_main
from mmyolonas.utils.errors import UserError
from mmyolonas.workflows.quickstart.detection import TASK
from mmyolonas.workflows.quickstart.job import add_options, run, stage_list


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__, stage_list(TASK))
    add_options(parser, TASK)
    parser.add_argument('--min-map50', type=arguments.share, default=0.85,
                        help='fail if the mAP at IoU 0.5 is below (default: 0.85)')
    return parser.parse_args()


def main() -> int:
    """Run the tool."""
    args = parse_args()
    runner = run(TASK, args)
    print()
    print(runner.summary(TASK.title))
    score = runner.results('evaluate').get('mAP50')
    if score is not None and score < args.min_map50:
        raise UserError(f'mAP at IoU 0.5 is {score:.3f}, below {args.min_map50}.')
    return 0


if __name__ == '__main__':
    run_main(main)
