"""Names of classes and files that other programs would take for something else."""
import csv

import numpy as np
import pytest

from mmyolonas.utils.figures import write_figure
from mmyolonas.utils.names import csv_cell, from_csv_cell, markdown_cell, printable

pytestmark = pytest.mark.filterwarnings('ignore:Glyph', 'ignore:No artists', 'ignore:constrained')

#: Formulas, control characters, halves of characters, other alphabets, other syntax.
HOSTILE = (
    '$', 'a $x$ b', '$\\frac{1}{', '$$', '\\$', 'a_b^c', '$\\undefined$', '=HYPERLINK("x")',
    '+1-2', '-cmd', '@SUM(1)', '\t=1', "'quoted", '|', 'a|b', 'line\nbreak', '\x1b[31mred',
    '\x00', '\udc80', '\u202egnp.exe', '猫', 'قط', 'é', '😀', '%s %d', '{0}', '{{x}}', '_hidden',
    '<b>', ' ', 'x' * 3000, '"', ',', ';')


@pytest.mark.parametrize('name', HOSTILE)
def test_printable(name):
    shown = printable(name)
    assert '\n' not in shown and '\x1b' not in shown and '\x00' not in shown
    shown.encode()  # no halves of characters
    assert printable(shown) == shown
    if name.isprintable() and '\u202e' not in name:
        assert shown == name
    cell = markdown_cell(name)
    assert '|' not in cell.replace('\\|', '') and '\n' not in cell


@pytest.mark.parametrize('name', HOSTILE)
def test_csv_cells(name, tmp_path):
    cell = csv_cell(name)
    assert from_csv_cell(cell) == name
    assert not cell.lstrip().startswith(('=', '+', '-', '@', '|', '%')) and cell[:1] not in '\t\r'


def test_numbers_stay_numbers():
    for value in (1, -2.5, None, '-1.5', '+3', '-1e-3', 'cat'):
        assert csv_cell(value) == value


@pytest.mark.parametrize('name', HOSTILE)
def test_texts_of_figures(name, tmp_path):
    """Titles, labels, ticks, legends and notes are shown as they are."""
    pytest.importorskip('matplotlib')
    from matplotlib.figure import Figure
    figure = Figure(figsize=(3, 2), layout='constrained')
    left, right = figure.subplots(1, 2)
    left.plot([1, 2], [1, 2], label=name[:40])
    left.set(title=name[:40], xlabel=name[:40])
    left.set_yticks([0, 1], [name[:40], 'b'])
    left.text(0, 0, name[:40])
    left.legend()
    right.plot([1, 10], [1, 100])
    figure.suptitle(name[:40])
    write_figure(tmp_path / 'a.png', figure)
    assert (tmp_path / 'a.png').stat().st_size > 1000


def test_logarithmic_axes_keep_their_numbers(tmp_path):
    pytest.importorskip('matplotlib')
    from matplotlib.figure import Figure
    figure = Figure()
    axes = figure.subplots()
    axes.plot([1, 1000], [1, 2])
    axes.set_xscale('log')
    axes.set_title('$')
    write_figure(tmp_path / 'a.svg', figure)
    text = (tmp_path / 'a.svg').read_text()
    assert 'mathdefault' in text and '<!-- $ -->' in text


def test_reports_with_such_names(tmp_path):
    """Every picture and table of the data and of an evaluation."""
    from mmyolonas.datasets.formats.layouts import read_layout
    from mmyolonas.datasets.inspection.box_table import box_table
    from mmyolonas.datasets.inspection.report import inspect_data
    from mmyolonas.evaluation.detection_report import evaluate_detections
    from mmyolonas.visualization.data_report import draw_data_report
    from mmyolonas.visualization.evaluation_report import draw_evaluation
    from tests.layout_files import write_layout
    root = write_layout(tmp_path / '$data$', 'roboflow', 4, 2)
    names = ('$\\frac{', '\x1b[31m|\udc80')
    for part in ('train', 'valid'):
        path = root / part / '_annotations.coco.json'
        text = path.read_text().replace('"square"', '"$\\\\frac{"')
        path.write_text(text.replace('"disc"', '"\\u001b[31m|\\udc80"'))
    report = inspect_data(read_layout(root))
    assert report.classes == names
    assert '\x1b' not in report.to_text() and report.to_text().encode()
    assert len(draw_data_report(report, tmp_path / 'out')) >= 2
    split = report.splits['val'].split
    table = box_table(split, names)
    found = [dict(image_id=image['id'], label=1, score=.9, bbox=[1, 2, 30, 30])
             for image in split.data['images']]
    result = evaluate_detections('val', split.data, table, found, names)
    assert len(draw_evaluation(result, split, table, found, names, tmp_path / 'out')) >= 4
    rows = [line for line in result.to_text().splitlines() if line.startswith('|')]
    assert {line.replace('\\|', '').count('|') for line in rows} == {9}


def test_tables_of_searches_and_trainings(tmp_path):
    from mmyolonas.workflows.rf100.rf100_results import Result, ResultTable
    table = ResultTable(tmp_path / 'results.csv')
    values = {name: kind(0) if kind is not str else '=1+1'
              for name, kind in Result.__annotations__.items()}
    table.add(Result(**values))
    with open(tmp_path / 'results.csv', newline='') as file:
        row, = csv.DictReader(file)
    assert row['dataset'] == "'=1+1"
    again, = ResultTable(tmp_path / 'results.csv').rows
    assert again.dataset == '=1+1'
    assert np.isfinite(again.ap)
