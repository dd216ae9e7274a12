"""Draw AP against latency from the report.json that tools/quantize.py wrote.

Several reports (of QAT and of the float model, or of several plans) are drawn
into one chart; the first gives the frontier.
"""
import os
from dataclasses import asdict

from mmyolonas.utils.cli import new_parser, run_main
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import read_json
from mmyolonas.utils.outputs import check_file
from mmyolonas.utils.typed import build

EXAMPLES = '''examples:
  python tools/analysis_tools/quantization_report.py work_dirs/int8/report.json
  python tools/analysis_tools/quantization_report.py int8/report.json qat=qat/report.json'''


def parse_args():
    """Return the command line's options."""
    parser = new_parser(__doc__, EXAMPLES)
    parser.add_argument('reports', nargs='+', metavar='[NAME=]FILE', help='report.json; NAME is '
                        'put in front of the names of its rows')
    parser.add_argument('--out', help='picture (default: report.png beside the first file)')
    return parser.parse_args()


def read_report(text: str) -> dict:
    """Read a report; rows get the name in front of ``=``."""
    name, _, path = text.rpartition('=')
    from mmyolonas.quantization.report import Report

    def check(report: dict) -> dict:
        report = asdict(build(Report, report, ignore=True))
        for row in report['rows']:
            row['name'] = f'{name} {row["name"]}'.strip()
            if row['interval'] is not None and len(row['interval']) != 2:
                raise ValueError('an interval has two ends')
        return report

    return read_json(path, 'a report of tools/quantize.py', check=check)


def main() -> None:
    """Run the tool."""
    from mmyolonas.quantization.choice.plots import plot_report
    args = parse_args()
    reports = [read_report(text) for text in args.reports]
    for other in reports[1:]:
        if other['runtime'] != reports[0]['runtime']:
            raise UserError(f'the reports are of different runtimes: {reports[0]["runtime"]} '
                            f'and {other["runtime"]}; latencies cannot be compared.')
        reports[0]['rows'] += other['rows']
    check_file(args.out)
    out = args.out or os.path.join(
        os.path.dirname(args.reports[0].rpartition('=')[2]) or '.', 'report.png')
    plot_report(reports[0], out)
    print(f'wrote {out}')


if __name__ == '__main__':
    run_main(main)
