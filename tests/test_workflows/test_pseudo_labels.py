"""Pseudo-labels: the file, the thresholds, kills, full disks, bad images."""
import errno
import json
import os
import shutil

import cv2
import numpy as np
import pytest
import torch
from filelock import FileLock
from mmengine.config import Config
from pycocotools.coco import COCO

from mmyolonas.datasets import CheckedCocoDataset, PseudoLabelDataset
from mmyolonas.inference.inference import InferenceOptions, Predictor
from mmyolonas.utils import UserError
from mmyolonas.utils.building import build_model
from mmyolonas.utils.images import find_images, read_image
from mmyolonas.workflows.pseudo_labels.pseudo_labels import PseudoLabeller, PseudoLabelOptions
from mmyolonas.workflows.pseudo_labels.shards import Shard
from tests import tiny
from tests.conftest import ROOT
from tests.killing import kill_when, start
from tests.run_tool import run_tool
from tests.test_inference.test_inference import write_model

TOOL = 'tools/pseudo_label.py'


@pytest.fixture(scope='module')
def model(tmp_path_factory) -> tuple:
    return write_model(tmp_path_factory.mktemp('model'))


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    """A folder with a blank, an accent and a sub-folder in its names."""
    folder = tmp_path_factory.mktemp('röntgen images')
    tiny.write_data(folder, count=4)
    (folder / 'sub folder').mkdir()
    shutil.copy(folder / '000.png', folder / 'sub folder' / 'größe 1.png')
    return folder


def test_file_holds_what_the_model_finds(model, images, tmp_path, capsys):
    """Scores, thresholds of a class, names with blanks and accents, drawn images."""
    (tmp_path / 'in').mkdir()
    source = shutil.copytree(images, tmp_path / 'in' / images.name)
    (source / 'cut.png').write_bytes((source / '000.png').read_bytes()[:60])
    (source / 'empty.jpg').write_bytes(b'')
    out = tmp_path / 'out' / 'labels.json'
    assert run_tool(TOOL, *model, f'{source}/**/*.*g', '--out', out, '--score-thr', 0.5,
                    '--class-thr', 'disc=0.51', '--pictures', 2, '--batch-size', 2,
                    '--device', 'cpu') == 0
    text = capsys.readouterr().out
    assert '2 images could not be read' in text and 'cut.png' in text and 'empty.jpg' in text
    assert 'empty.jpg' in (out.parent / 'labels_unreadable.txt').read_text()
    data = json.loads(out.read_text())
    names = [image['file_name'] for image in data['images']]
    assert sorted(names) == ['000.png', '001.png', '002.png', '003.png', 'sub folder/größe 1.png']
    predictor = Predictor(*model, InferenceOptions(score_thr=0.5), device='cpu')
    limits = np.array([0.5, 0.51])
    total = 0
    for image in data['images']:
        found, = predictor([read_image(source / image['file_name'])])
        found = found.select(found.scores >= limits[found.labels])
        rows = [a for a in data['annotations'] if a['image_id'] == image['id']]
        assert len(rows) == len(found)
        np.testing.assert_allclose([a['score'] for a in rows], found.scores, atol=1e-5)
        assert [a['category_id'] for a in rows] == (found.labels + 1).tolist()
        boxes = np.array([a['bbox'] for a in rows]).reshape(-1, 4)
        boxes[:, 2:] += boxes[:, :2]
        np.testing.assert_allclose(boxes, found.boxes, atol=0.02)
        total += len(rows)
    assert total == len(data['annotations']) > 5
    assert [t['threshold'] for t in data['info']['thresholds']] == [0.5, 0.51]
    pictures = sorted(path.name for path in (out.parent / 'labels_pictures').iterdir())
    assert len(pictures) == 2 and (out.parent / 'labels.png').stat().st_size > 5000
    assert not list(out.parent.glob('.*'))  # neither journal nor temporary files are left
    dataset = CheckedCocoDataset(
        data_root=str(source), ann_file=str(out), data_prefix=dict(img=''),
        metainfo=dict(classes=tiny.CLASSES))
    assert len(dataset) == 5
    assert sum(len(dataset.get_data_info(i)['instances']) for i in range(5)) == total


@pytest.mark.long
def test_killed_call_continues(model, tmp_path):
    """kill -9 while it labels; the next call does the rest, with the same result."""
    folder = tiny.write_data(tmp_path / 'data', count=4)
    for index in range(4, 60):
        shutil.copy(folder / f'{index % 4:03d}.png', folder / f'{index:03d}.png')
    command = [*model, str(folder), '--device', 'cpu', '--pictures', '0']
    journal = tmp_path / '.killed.json.journal'
    kill_when(start([ROOT / TOOL, *command, '--out', tmp_path / 'killed.json']),
              lambda: journal.exists() and journal.read_bytes().count(b'\n') > 8)
    with open(journal, 'ab') as file:
        file.write(b'{"file": "0')  # as if it had been in the middle of a line
    assert not (tmp_path / 'killed.json').exists()
    paths = find_images([str(folder), os.path.relpath(folder)])  # each once
    options = PseudoLabelOptions(pictures=0)
    report = PseudoLabeller(*model, options, 'cpu').run(paths, tmp_path / 'killed.json')
    assert 5 < report.before < 60 and report.images == 60
    whole = PseudoLabeller(*model, options, 'cpu').run(paths, tmp_path / 'whole.json')
    assert whole.before == 0
    assert (tmp_path / 'killed.json').read_bytes() == (tmp_path / 'whole.json').read_bytes()


def test_full_disk_loses_nothing(model, images, tmp_path, monkeypatch):
    out, paths = tmp_path / 'labels.json', find_images([str(images)])
    labeller = PseudoLabeller(*model, PseudoLabelOptions(pictures=0), 'cpu')
    whole = labeller.run(paths, tmp_path / 'whole.json')

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr('mmyolonas.utils.files.os.fsync', full)
        with pytest.raises(UserError, match='No space left on device.*make room'):
            labeller.run(paths, out)
    assert not out.exists() and (tmp_path / '.labels.json.journal').exists()
    assert labeller.run(paths, out).before == whole.images
    assert out.read_bytes() == (tmp_path / 'whole.json').read_bytes()


def test_other_options_begin_anew(model, images, tmp_path, monkeypatch, capsys):
    paths = find_images([str(images)])
    labeller = PseudoLabeller(*model, PseudoLabelOptions(pictures=0), 'cpu')
    with monkeypatch.context() as patch:
        patch.setattr('mmyolonas.utils.journal.Journal.remove', lambda self: None)
        labeller.run(paths[:2], tmp_path / 'labels.json')
    again = labeller.run(paths, tmp_path / 'labels.json')
    assert again.before == 2 and again.images == 4
    with monkeypatch.context() as patch:
        patch.setattr('mmyolonas.utils.journal.Journal.remove', lambda self: None)
        labeller.run(paths[:2], tmp_path / 'labels.json')
    other = PseudoLabeller(*model, PseudoLabelOptions(score_thr=0.53, pictures=0), 'cpu')
    assert other.run(paths, tmp_path / 'labels.json').before == 0
    assert 'starting anew' in capsys.readouterr().out
    scores = [a['score'] for a in json.loads((tmp_path / 'labels.json').read_text())['annotations']]
    assert min(scores) >= 0.53


def test_precision_target(model, images, tmp_path, capsys):
    """Thresholds that a labelled split chooses: its labels are some of the predictions."""
    predictor = Predictor(*model, InferenceOptions(score_thr=0.02), device='cpu')
    entries, annotations = [], []
    for number, path in enumerate(sorted(images.glob('*.png')), 7):
        found, = predictor([read_image(path)])
        entries.append(dict(id=number, file_name=path.name, width=64, height=64))
        for box, label, score in zip(found.boxes, found.labels, found.scores):
            if label == 0 or score > 0.505:  # discs are labelled where the score is high
                x1, y1, x2, y2 = box.tolist()
                annotations.append(dict(
                    id=len(annotations), image_id=number, category_id=int(label) * 10 + 5,
                    bbox=[x1, y1, x2 - x1, y2 - y1]))
    labelled = tmp_path / 'labelled.json'
    labelled.write_text(json.dumps(dict(
        images=entries, annotations=annotations,
        categories=[dict(id=0, name='shapes'), dict(id=15, name='disc'),
                    dict(id=5, name='square')])))
    out = tmp_path / 'labels.json'
    arguments = [*model, images, '--out', out, '--labelled', labelled, '--device', 'cpu']
    assert run_tool(TOOL, *arguments, '--precision', 1) == 1
    assert 'none of the images' in capsys.readouterr().err
    arguments += ['--labelled-images', images]
    assert run_tool(TOOL, *arguments, '--precision', 1, '--match-iou', 0.9) == 0
    data = json.loads(out.read_text())
    square, disc = data['info']['thresholds']
    assert square['name'] == 'square' and square['precision'] == disc['precision'] == 1
    assert square['threshold'] < 0.501 < 0.505 < disc['threshold'] < 0.52
    assert {c['name']: c['id'] for c in data['categories']} == dict(square=5, disc=15)
    assert min(a['score'] for a in data['annotations'] if a['category_id'] == 15) > 0.505
    assert min(a['score'] for a in data['annotations'] if a['category_id'] == 5) < 0.501


def test_poses(tmp_path):
    """Key points, their scores and the skeleton; thresholds by OKS."""
    pytest.importorskip('mmpose')
    from tests.test_inference import test_pose_inference as pose
    model = pose.write_model(tmp_path)
    folder = tiny.write_data(tmp_path / 'data', count=3)
    out = tmp_path / 'poses.json'
    assert run_tool(TOOL, *model, folder, '--out', out, '--score-thr', 0.4, '--keypoint-thr', 0.5,
                    '--device', 'cpu', '--pictures', 1) == 0
    data = json.loads(out.read_text())
    category, = data['categories']
    assert category['keypoints'] == ['top', 'middle', 'bottom']
    assert category['skeleton'] == [[1, 2], [2, 3]]
    assert len(data['annotations']) > 3
    for annotation in data['annotations']:
        points = np.array(annotation['keypoints']).reshape(3, 3)
        scores = np.array(annotation['keypoint_scores'])
        np.testing.assert_array_equal(points[:, 2] > 0, scores >= 0.5)
        assert annotation['num_keypoints'] == (scores >= 0.5).sum()
        assert annotation['score'] >= 0.4
    assert COCO(str(out)).getAnnIds()
    # the labels themselves as ground truth: every detection is right
    options = PseudoLabelOptions(min_precision=0.95, labelled=str(out),
                                 labelled_images=str(folder), keypoint_thr=0.0, pictures=0)
    again = PseudoLabeller(*model, options, 'cpu').run(
        find_images([str(folder)]), tmp_path / 'again.json')
    assert again.thresholds[0].precision >= 0.95 and again.annotations > 3


def test_two_stage_detector(tmp_path, images):
    """Any mmdet model: here Faster R-CNN, whose thresholds lie elsewhere in the config."""
    cfg = Config.fromfile(ROOT / 'configs' / 'swap' / 'faster_rcnn_yolonas_s_fpn_coco.py')
    tiny_model = tiny.model_config()
    cfg.model.backbone = tiny_model['backbone']
    cfg.model.neck.update(in_channels=[8, 16, 16, 32], out_channels=8)
    cfg.model.rpn_head.update(in_channels=8, feat_channels=8)
    head = cfg.model.roi_head
    head.bbox_roi_extractor.out_channels = 8
    head.bbox_head.update(in_channels=8, fc_out_channels=16, num_classes=2)
    cfg.test_dataloader.dataset.metainfo = dict(classes=tiny.CLASSES)
    path = tmp_path / 'config.py'
    cfg.dump(path)
    built = build_model(Config.fromfile(path))
    torch.nn.init.normal_(built.roi_head.bbox_head.fc_cls.weight, std=1)
    torch.save(dict(state_dict=built.state_dict()), tmp_path / 'model.pth')
    labeller = PseudoLabeller(str(path), str(tmp_path / 'model.pth'),
                              PseudoLabelOptions(score_thr=0.2, pictures=0, max_per_img=7), 'cpu')
    assert not labeller.predictor.is_pose
    assert labeller.predictor.model.roi_head.test_cfg.score_thr == 0.2
    report = labeller.run([images / '000.png'], tmp_path / 'labels.json')
    annotations = json.loads((tmp_path / 'labels.json').read_text())['annotations']
    assert 0 < report.annotations <= 7
    assert all(a['score'] >= 0.2 for a in annotations)


def test_clear_messages(model, images, tmp_path, capsys):
    def message(*arguments, code: int = 1) -> str:
        assert run_tool(TOOL, *model, *arguments, '--device', 'cpu') == code
        return capsys.readouterr().err

    out = ['--out', tmp_path / 'labels.json']
    assert 'does not exist' in message(tmp_path / 'nowhere', *out)
    assert 'must end in .json' in message(images, '--out', tmp_path / 'labels.txt')
    assert 'takes NAME=SCORE' in message(images, *out, '--class-thr', 'disc')
    assert 'unknown class cube' in message(images, *out, '--class-thr', 'cube=0.5')
    for value in ('50', 'nan', '-1', 'x'):
        assert 'from 0 to 1' in message(images, *out, '--score-thr', value, code=2)
    assert 'give both or neither' in message(images, *out, '--precision', '0.8')
    broken = tmp_path / 'broken.jpg'
    broken.write_bytes(b'not an image')
    assert 'none of the 1 images could be read' in message(broken, *out)
    assert not list(tmp_path.glob('.*')) and not (tmp_path / 'labels.json').exists()
    assert run_tool(TOOL, model[0], tmp_path / 'none.pth', images, *out) == 1
    assert 'none.pth does not exist' in capsys.readouterr().err


def test_drawn_images_show_the_labels(model, images, tmp_path):
    labeller = PseudoLabeller(*model, PseudoLabelOptions(pictures=1), 'cpu')
    report = labeller.run([images / '000.png'], tmp_path / 'labels.json')
    picture, = report.pictures.iterdir()
    drawn, plain = cv2.imread(str(picture)), cv2.imread(str(images / '000.png'))
    assert drawn.shape == plain.shape and np.abs(drawn.astype(int) - plain).max() > 100


@pytest.fixture
def labeller(model):

    def make(**options) -> PseudoLabeller:
        return PseudoLabeller(*model, PseudoLabelOptions(score_thr=0.5, pictures=0, **options),
                              'cpu')

    return make


def test_uncertain_detections_are_regions_to_ignore(labeller, images, tmp_path):
    """Two scores; the labels are those of the upper one, and the lower one is as if it were it."""
    paths = find_images([str(images)])

    def boxes(name, crowd=None) -> list:
        data = json.loads((tmp_path / name).read_text())
        return [(a['image_id'], a['category_id'], a['score'], *a['bbox'])
                for a in data['annotations'] if crowd in (None, a['iscrowd'])]

    plain = labeller(class_thr=dict(disc=0.51)).run(paths, tmp_path / 'plain.json')
    low = labeller(class_thr=dict(square=0.49, disc=0.49)).run(paths, tmp_path / 'low.json')
    both = labeller(class_thr=dict(disc=0.51), ignore_above=0.49).run(paths, tmp_path / 'both.json')
    assert plain.uncertain == low.uncertain == 0 and both.uncertain > 5
    assert (both.annotations, both.per_class) == (plain.annotations, plain.per_class)
    assert boxes('both.json', 0) == boxes('plain.json') and boxes('both.json') == boxes('low.json')
    dataset = PseudoLabelDataset(data_root=str(images), ann_file=str(tmp_path / 'both.json'),
                                 data_prefix=dict(img=''), metainfo=dict(classes=tiny.CLASSES))
    flags = [i['ignore_flag'] for d in dataset.load_data_list() for i in d['instances']]
    assert sum(flags) == both.uncertain and len(flags) == both.uncertain + both.annotations
    with pytest.raises(UserError, match='begins at a score of 0.5, and no label needs more'):
        labeller(ignore_above=0.5)


def test_shards_join(labeller, images, tmp_path, capsys):
    """The file of several processes is that of one, whatever the order in which they end."""
    paths = find_images([str(images)])
    work = labeller(ignore_above=0.49)
    whole = work.run(paths, tmp_path / 'whole.json')
    out = tmp_path / 'out' / 'labels.json'
    for index, open_shards in ((3, [1, 2]), (1, [2]), (1, [2])):
        report = work.run(paths, out, shard=Shard(index, 3))
        assert report.open_shards == open_shards and not out.exists()
    assert report.before == 1  # the first part was there
    report = work.run(paths, out, shard=Shard(2, 3))
    assert not report.open_shards
    assert (report.images, report.annotations) == (whole.images, whole.annotations)
    assert out.read_bytes() == (tmp_path / 'whole.json').read_bytes()
    # other options, other images: other parts, nothing of the old ones
    capsys.readouterr()
    assert labeller().run(paths, out, shard=Shard(1, 3)).open_shards == [2, 3]
    assert 'starting anew' in capsys.readouterr().out
    assert labeller().run(paths[:3], out, shard=Shard(2, 3)).open_shards == [1, 3]


def test_a_shard_tries_again_what_it_could_not_read(labeller, images, tmp_path):
    folder = shutil.copytree(images, tmp_path / 'in')
    good = (folder / '001.png').read_bytes()
    (folder / '001.png').write_bytes(b'')
    out = tmp_path / 'labels.json'
    for index in (1, 2):
        report = labeller().run(find_images([str(folder)]), out, shard=Shard(index, 2))
    assert report.images == 3 and '001.png' in report.unreadable[0]
    assert (tmp_path / 'labels_unreadable.txt').read_text().count('\n') == 1
    (folder / '001.png').write_bytes(good)
    report = labeller().run(find_images([str(folder)]), out, shard=Shard(1, 2))
    assert report.images == 4 and not report.unreadable
    assert not (tmp_path / 'labels_unreadable.txt').exists()


def test_a_part_is_one_process_and_thresholds_are_one_choice(labeller, images, tmp_path):
    paths, out = find_images([str(images)]), tmp_path / 'labels.json'
    work, calls = labeller(), []
    choose = work._choose_thresholds
    work._choose_thresholds = lambda: calls.append(1) or choose()
    try:
        work.run(paths, out, shard=Shard(1, 2))
        work.run(paths, out, shard=Shard(2, 2))
    finally:
        del work._choose_thresholds
    assert len(calls) == 1
    locked = FileLock(tmp_path / 'labels_parts' / '.1-of-2.jsonl.lock')
    with locked, pytest.raises(UserError, match='give each its own --shard'):
        work.run(paths, out, shard=Shard(1, 2))


@pytest.mark.parametrize('text, message', [
    ('0/3', 'needs 1 <= I <= N, got 0/3'), ('4/3', 'got 4/3'), ('2', 'takes I/N'),
    ('a/b', 'takes I/N')])
def test_shards_that_make_no_sense(text, message):
    with pytest.raises(UserError, match=message):
        Shard.parse(text)


def test_shards_cover_everything_once():
    for size in (0, 1, 7, 100):
        for count in (1, 3, 8):
            parts = [Shard(index, count).of(range(size)) for index in range(1, count + 1)]
            assert sum(parts, []) == list(range(size))
            assert max(map(len, parts)) - min(map(len, parts)) <= 1
