"""Options that the steps of ``tools/search.py`` share."""
import argparse
from pathlib import Path
from typing import Optional

from mmyolonas.utils import arguments


def add_project(parser: argparse.ArgumentParser) -> None:
    """Add what a search is about."""
    from mmyolonas.utils.cli import ConfigOptions
    parser.add_argument('--work-dir', type=Path, default=Path('work_dirs/search'),
                        help='folder of the search (default: work_dirs/search)')
    group = parser.add_argument_group('what the search is about (first call; kept in the folder)')
    group.add_argument('--recipe', metavar='CONFIG', help='config of the short trainings')
    group.add_argument('--cfg-options', nargs='+', action=ConfigOptions, metavar='KEY=VALUE',
                       help='settings of the recipe to override')
    group.add_argument('--input-sizes', nargs='+', type=arguments.side, metavar='PIXELS',
                       help='sides of the network input that may be chosen (default: 320 416 '
                       '512 640)')
    group.add_argument('--max-size', type=arguments.positive,
                       help='FLOPs up to which architectures are '
                       'trained, in multiples of published S (poses: N) (default: 3)')
    group.add_argument('--fix', nargs='+', action=ConfigOptions, metavar='GENE=VALUE',
                       help="leave only these values of a choice (names: tools/search.py space; "
                       "'*.attention=False' for all alike)")
    group.add_argument('--max-arch', metavar='NAME', help='leave out widths and depths beyond '
                       'those of this published model')
    group.add_argument('--head-only', metavar='NAME', help='keep backbone and neck of this '
                       'published model, frozen, and search the head; the recipe needs load_from')
    group.add_argument('--sample-seed', type=arguments.seed,
                       help='seed of the trained architectures '
                       '(default: 0)')


def add_target(parser: argparse.ArgumentParser) -> None:
    """Add what the networks are to run on."""
    group = parser.add_argument_group('target')
    group.add_argument('--target', default='onnxruntime', metavar='RUNTIME',
                       help='onnxruntime, openvino or tensorrt (default: onnxruntime)')
    group.add_argument('--precision', default='int8', choices=['fp32', 'fp16', 'int8'],
                       help='default: int8')
    group.add_argument('--threads', type=arguments.positive_int, default=1, help='default: 1')
    group.add_argument('--table', help='table of operator latencies (default: that of the folder)')


def values_of(fix: Optional[dict]) -> Optional[dict]:
    """Return what ``--fix`` leaves, as text: several values are a list by now."""
    return fix and {name: ','.join(map(str, value)) if isinstance(value, (list, tuple))
                    else str(value) for name, value in fix.items()}
