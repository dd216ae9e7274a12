"""YOLO-NAS-Pose on generated figures: sample images, training, evaluation, pictures.

The pose counterpart of tools/quickstart.py. Each stage is timed and is not
repeated when the tool is called again; an interrupted training continues where
it was. A table with the results is printed and written to summary.md in the
work folder.
"""
import argparse

from mmyolonas.utils.cli import new_parser, run_main
from mmyolonas.workflows.quickstart.job import add_options, run, stage_list
from mmyolonas.workflows.quickstart.pose import TASK


def parse_args() -> argparse.Namespace:
    """Return the command line's options."""
    parser = new_parser(__doc__, stage_list(TASK))
    add_options(parser, TASK)
    return parser.parse_args()


def main() -> int:
    """Run the tool."""
    runner = run(TASK, parse_args())
    print()
    print(runner.summary(TASK.title))
    return 0


if __name__ == '__main__':
    run_main(main)
