"""Report on many data sets beside released numbers."""
import csv
import io
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean
from typing import Dict, List, Optional, Sequence

from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import read_json, write_text
from mmyolonas.utils.names import csv_cell, markdown_cell, printable
from mmyolonas.utils.progress import format_duration
from mmyolonas.workflows.rf100.rf100 import (
    PUBLISHED_YOLONAS,
    RELEASED,
    common_names,
    released_mean,
    rf100_categories,
    rf100_datasets,
)
from mmyolonas.workflows.rf100.rf100_results import Result, ResultTable

_SOURCES = '''
Sources and what they allow to compare:

- `yolov5`, `yolov7`, `yolov8`: `metadata/datasets_stats.csv` of roboflow/roboflow-100-benchmark,
  mAP at IoU 0.5. Its authors say that some of them are of valid and some of test (issue 46
  there), one run each; they are no more than a rough guide beside scores on test.
- YOLO-NAS as published: figure `yolo_nas_rf100.png` of SuperGradients' documentation, a mean of
  mAP at IoU 0.5 without a table by data set; the split is not stated. The base lines beside it
  are the released numbers over the 94 data sets that have all three.
- Ours: AP and AP50 of pycocotools on test; the checkpoint was chosen on valid.
'''


@dataclass
class CategoryRow:
    """Means over the finished data sets of one category.

    Attributes:
        name: The category, or what the row is about.
        finished: Data sets with a result.
        total: Data sets of the category.
        ap, ap50: Our means over those; None without any.
        common: Data sets among them with all released numbers.
        common_ap50: Our mean of AP50 over the common ones.
        released: Means of the released numbers over the common ones.
        int8_ap: Mean AP of the 8-bit models, over those that were exported.
        int8_count: Their number.
    """
    name: str
    finished: int
    total: int
    ap: Optional[float] = None
    ap50: Optional[float] = None
    common: int = 0
    common_ap50: Optional[float] = None
    released: Dict[str, float] = field(default_factory=dict)
    int8_ap: Optional[float] = None
    int8_count: int = 0


@dataclass
class RF100Report:
    """What a folder of results holds.

    Attributes:
        model: 's', 'm', 'l'.
        results: Data sets with a result.
        failed: Data sets without one.
        categories: A row for each category with results; others as one row.
        overall: The row of all.
        int8: AP of the 8-bit model on test, by data set.
    """
    model: str
    results: List[Result]
    failed: List[Result]
    categories: List[CategoryRow]
    overall: CategoryRow
    int8: Dict[str, float]


def read_report(work_dir: Path) -> RF100Report:
    """Gather the results of a folder.

    Raises:
        UserError: There is none.
    """
    rows = ResultTable.merged(work_dir).rows
    if not rows:
        raise UserError(f'{work_dir} holds no results.csv; give the --work-dir of '
                        '`tools/rf100.py run`.')
    good = [row for row in rows if row.status == 'ok']
    int8 = {row.dataset: ap for row in good if (ap := _int8_ap(Path(work_dir) / row.dataset))
            is not None}
    known = rf100_datasets()
    categories = []
    for name in rf100_categories():
        members = [row for row in good if row.category == name]
        if members:
            total = sum(dataset.category == name for dataset in known.values())
            categories.append(_category(name, members, total, int8))
    others = [row for row in good if row.dataset not in known]
    if others:
        categories.append(_category('not of RF100', others, len(others), int8))
    overall = _category('all', good, len(known) + len(others), int8)
    return RF100Report(rows[0].model, good, [row for row in rows if row.status != 'ok'],
                       categories, overall, int8)


def _category(name: str, rows: Sequence[Result], total: int,
              int8: Dict[str, float]) -> CategoryRow:
    result = CategoryRow(name, len(rows), total)
    if not rows:
        return result
    result.ap, result.ap50 = mean(r.ap for r in rows), mean(r.ap50 for r in rows)
    common = common_names([row.dataset for row in rows])
    result.common, result.released = len(common), released_mean(common)
    if common:
        result.common_ap50 = mean(row.ap50 for row in rows if row.dataset in common)
    exported = [int8[row.dataset] for row in rows if row.dataset in int8]
    result.int8_count = len(exported)
    result.int8_ap = mean(exported) if exported else None
    return result


def _int8_ap(folder: Path) -> Optional[float]:
    """Return the AP of the 8-bit file that ``tools/quantize.py`` made in ``<folder>/int8``."""
    path = folder / 'int8' / 'report.json'
    if not path.is_file():
        return None
    rows = read_json(path, 'a report of tools/quantize.py', check=lambda data: {
        row['name']: row['ap'] and float(row['ap']) for row in data['rows']})
    for name in ('selective', 'int8'):
        if rows.get(name) is not None:
            return rows[name] / 100
    return None


# --------------------------------------------------------------------- output
def write_report(report: RF100Report, out: Path) -> List[Path]:
    """Write ``report.md``, ``report.csv`` (by data set) and ``report.png``.

    Returns:
        list[Path]: The files.
    """
    from mmyolonas.visualization.rf100 import plot_categories
    files = [out / 'report.md', out / 'report.csv', out / 'report.png']
    write_text(files[0], report_text(report))
    write_text(files[1], _csv(report))
    plot_categories([*report.categories, report.overall],
                    PUBLISHED_YOLONAS if report.overall.common else {}, files[2],
                    f'YOLO-NAS-{report.model.upper()}: {len(report.results)} data sets, test')
    return files


def report_text(report: RF100Report) -> str:
    """Return the report as Markdown."""
    lines = [f'# YOLO-NAS-{report.model.upper()} on {len(report.results)} data sets', '',
             'Means over the data sets that finished; the released numbers are means over those '
             'of them for which all three exist (the column "common").', '']
    int8 = bool(report.int8)
    lines += ['| category | finished | AP | AP50 | '
              + ('INT8 AP (sets) | ' if int8 else '') + 'common | AP50, common | '
              + ' | '.join(RELEASED) + ' |',
              '|---' * (7 + int8 + len(RELEASED) - 1) + '|']
    for row in [*report.categories, report.overall]:
        cells = [row.name, f'{row.finished}/{row.total}', _number(row.ap), _number(row.ap50)]
        if int8:
            cells.append(f'{_number(row.int8_ap)} ({row.int8_count})')
        cells += [str(row.common), _number(row.common_ap50)]
        cells += [_number(row.released.get(model)) for model in RELEASED]
        lines.append('| ' + ' | '.join(cells) + ' |')
    published = ', '.join(f'{size.upper()} {value:.3f}'
                          for size, value in PUBLISHED_YOLONAS.items())
    lines += ['', f'YOLO-NAS as published (mean mAP at IoU 0.5, all data sets): {published}.',
              _SOURCES]
    minutes = [row.train_minutes for row in report.results]
    if minutes:
        memory = [row.memory_mb for row in report.results if row.memory_mb > 0]
        lines += [f'Training: {format_duration(sum(minutes) * 60)} in all, '
                  f'{min(minutes):.1f} to {max(minutes):.1f} minutes each'
                  + (f'; largest memory {max(memory):.0f} MB.' if memory else '.'), '']
    lines += ['## Which data sets entered', '',
              'Every mean above is of the test split of these: '
              + (', '.join(row.dataset for row in report.results) or 'none') + '.', '']
    common = common_names([row.dataset for row in report.results])
    left_out = [row.dataset for row in report.results
                if row.dataset in rf100_datasets() and row.dataset not in common]
    lines.append('Finished, but without one of the released numbers, so not among the common '
                 f'ones: {", ".join(left_out) or "none"}.')
    if report.failed:
        lines += ['', '## Failed', '']
        lines += [f'- {markdown_cell(row.dataset)}: {printable(row.message)}'
                  for row in report.failed]
    return '\n'.join(lines) + '\n'


def _number(value: Optional[float]) -> str:
    return '-' if value is None else f'{value:.3f}'


def _csv(report: RF100Report) -> str:
    known = rf100_datasets()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator='\n')
    writer.writerow(['dataset', 'category', 'ap', 'ap50', 'int8_ap', *RELEASED, 'train_minutes',
                     'memory_mb'])
    for row in report.results:
        released = known[row.dataset].scores if row.dataset in known else {}
        writer.writerow([csv_cell(row.dataset), csv_cell(row.category), f'{row.ap:.4f}',
                         f'{row.ap50:.4f}',
                         report.int8.get(row.dataset, ''),
                         *(released.get(model, '') for model in RELEASED),
                         row.train_minutes, row.memory_mb])
    return text.getvalue()
