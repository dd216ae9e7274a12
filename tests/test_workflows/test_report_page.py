"""The HTML report: whole, readable by a parser, and data stay data in it."""
import json
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from mmyolonas.datasets.formats.coco_split import CocoSplit
from mmyolonas.datasets.inspection.box_table import box_table
from mmyolonas.evaluation.detection_report import evaluate_detections
from mmyolonas.visualization.svg_chart import Line, line_chart
from mmyolonas.workflows.finetune.finetune_settings import FinetuneOptions
from mmyolonas.workflows.finetune.page import write_page
from mmyolonas.workflows.finetune.task import Finetuning

HOSTILE = ('<script>document.title="owned"</script>', '"><img src=x onerror=alert(1)> {{7*7}} $x_{',
           'plain \u202e name')


def make_page(folder: Path, classes=HOSTILE) -> Path:
    """Write a report on jittered labels; return the page."""
    rng = np.random.default_rng(0)
    images = [dict(id=i, file_name=f'{i}.png', width=200, height=160) for i in range(4)]
    boxes = rng.uniform(10, 100, (24, 4))
    annotations = [dict(id=i + 1, image_id=i % 4, category_id=i % len(classes) + 1, iscrowd=0,
                        bbox=[*box[:2], 40., 30.], area=1200.) for i, box in enumerate(boxes)]
    data = dict(images=images, annotations=annotations,
                categories=[dict(id=i, name=name) for i, name in enumerate(classes, 1)])
    split = CocoSplit('val', folder, data)
    found = [dict(image_id=a['image_id'], label=(a['category_id'] - (i % 5 == 0)) % len(classes),
                  score=float(rng.uniform(0.1, 1)), bbox=a['bbox'])
             for i, a in enumerate(annotations)]
    report = evaluate_detections('val', data, box_table(split, classes), found, classes)
    task = Finetuning(folder / 'my <u>data', folder, options=FinetuneOptions())
    (folder / 'data').mkdir()
    (folder / 'data' / 'report.json').write_text(json.dumps(dict(
        classes=list(classes), notes=['a <i>note</i>'], warnings=['few <images>'],
        reasons=['image size 320'],
        splits=dict(train=dict(images=4, boxes=24, empty=0,
                               boxes_of_class=dict.fromkeys(classes, 8))))))
    cv2.imwrite(str(folder / 'data' / 'samples.png'), np.full((30, 40, 3), 90, np.uint8))
    log = folder / 'train' / 'now' / 'vis_data'
    log.mkdir(parents=True)
    log.joinpath('scalars.json').write_text('\n'.join(
        [json.dumps(dict(loss=2 - i / 100, lr=0.01, iter=i, step=i, epoch=1)) for i in range(50)]
        + [json.dumps({'coco/bbox_mAP': 0.4, 'coco/bbox_mAP_50': 0.7, 'step': 1})]))
    picture = folder / 'predictions.png'
    cv2.imwrite(str(picture), rng.integers(0, 255, (64, 64, 3), dtype=np.uint8))
    commands = ["python demo/image_demo.py 'my <u>data'"] * 4
    return write_page(task, folder / 'best.pth', dict(val=report), [picture], commands)


class _Reader(HTMLParser):
    def __init__(self):
        super().__init__()
        self.tags, self.text, self.attributes = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope='module')
def page(tmp_path_factory):
    path = make_page(tmp_path_factory.mktemp('page'))
    reader = _Reader()
    reader.feed(path.read_text())
    return reader


def test_names_stay_text(page):
    """No element, attribute or address comes from data, and a policy forbids what would."""
    text = ''.join(page.text)
    assert HOSTILE[0] in text and HOSTILE[1] in text and '49' not in text.split(HOSTILE[1])[1][:9]
    assert 'my <u>data' in text and 'a <i>note</i>' in text and 'few <images>' in text
    assert '\u202e' not in text and r'\u202e' in text
    assert not {'script', 'u', 'link', 'iframe', 'a'} & set(page.tags)
    assert not [name for _, name, _ in page.attributes if name.startswith('on')]
    sources = [value for tag, name, value in page.attributes if name in ('src', 'href')]
    assert len(sources) == 2 and all(value.startswith('data:image/') for value in sources)
    policy, = (value for _, name, value in page.attributes if name == 'content' and 'src' in value)
    assert policy.startswith("default-src 'none'") and 'script' not in policy


def test_everything_is_there(page):
    text = ''.join(page.text)
    for heading in ('Data', 'Training', 'Average precision of each class', 'Score threshold',
                    'What is taken for what', 'Pictures', 'Next'):
        assert heading in page.text, heading
    assert page.tags.count('svg') == 5  # validation, loss, rate, two of the threshold
    assert page.tags.count('pre') == 4 and 'image size 320' in text
    assert 'taken for' in text and 'There is no test split' in text


def test_many_classes_get_words_for_a_table(tmp_path):
    text = make_page(tmp_path, [f'class {i}' for i in range(40)]).read_text()
    assert 'class="confusion"' not in text and 'taken for class' in text


def test_chart_places():
    """The corners of the chart are those of the values; what is not finite is left out."""
    chart = str(line_chart([Line('<a>', [0, 1, 2, float('nan')], [0, 5, 10, 3])], 't', 'x'))
    assert 'points="54.0,200.0 221.0,107.0 388.0,14.0"' in chart
    assert '&lt;a&gt;' in chart and '<a>' not in chart
    assert line_chart([Line('a', [], [])], 't', 'x') == ''
    long = str(line_chart([Line('a', range(1000), range(1000))], 't', 'x'))
    assert long.count(',') < 260 and '388.0,14.0' in long
