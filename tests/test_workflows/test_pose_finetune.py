"""tools/finetune.py --task pose: settings, config, report; once from a folder to the report."""
import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.config import Config

from mmyolonas.datasets.formats.coco_split import CocoSplit
from mmyolonas.datasets.formats.keypoints import Keypoints
from mmyolonas.datasets.inspection.poses import PoseReport, PoseTable
from mmyolonas.evaluation.pose_pck_metric import PosePCKMetric
from mmyolonas.evaluation.pose_report import evaluate_poses, similarity
from mmyolonas.utils.building import build_dataset, build_model
from mmyolonas.utils.errors import UserError
from mmyolonas.workflows.finetune.finetune_settings import FinetuneOptions
from mmyolonas.workflows.finetune.pose_config import base_pose_model, write_pose_config
from mmyolonas.workflows.finetune.pose_settings import choose_pose_settings
from mmyolonas.workflows.finetune.start_weights import StartWeights
from tests import tiny
from tests.run_tool import run_tool

TOOL = 'tools/finetune.py'
HOSTILE = ("'; import os; os.abort() #", '{{ fileBasename }}', 'left {{$HOME:x}}')


def seen(images=87, side=100., angle=0.1, flip=(0, 2, 1), size=(640, 480), each=1):
    """Return what the rules read of a report on data."""
    rng = np.random.default_rng(0)
    count = images * each
    corners = rng.uniform(0, 200, (count, 2))
    boxes = np.hstack([corners, corners + side])
    turn = rng.uniform(-angle, angle, count)
    shape = np.array([[0., 0], [-20, 30], [25, 28]])
    rotation = np.stack([np.cos(turn), -np.sin(turn), np.sin(turn), np.cos(turn)], -1)
    points = shape @ rotation.reshape(-1, 2, 2).transpose(0, 2, 1) + corners[:, None] + 50
    part = SimpleNamespace(
        scanned=[None] * images, bad_images=[], sizes=np.tile(np.array(size, float), (images, 1)),
        table=SimpleNamespace(boxes=boxes, images=np.arange(count) % images,
                              sources=np.arange(count)),
        split=SimpleNamespace(data=dict(annotations=[{}] * count)))
    report = SimpleNamespace(splits=dict(train=part), classes=('mouse', ))
    keypoints = Keypoints(('a b', 'left c', 'right c'), True, flip, ((0, 1), (0, 2)))
    return report, PoseReport(keypoints, dict(train=PoseTable(
        points, np.full(points.shape[:2], 2), {})))


def choose(data=None, start=None, gpu=False, processes=1, **options):
    return choose_pose_settings(*(data or seen()), FinetuneOptions(model='n', **options), gpu=gpu,
                                start=start, processes=processes)


def test_settings_of_a_mouse():
    """What yolonas_pose_n_mouse.py came to by hand: wide constants, boxes assign, 2e-3."""
    found = choose()
    assert found.lr == 2e-3 and found.train_sigmas == [0.2] * 3 and not found.use_oks
    assert found.flip and found.max_rotation == 20 and found.batch_size == 8
    assert found.input_size == (640, 480) and found.steps == 40 * 54  # 100 of 640 pixels
    assert choose(seen(side=300)).input_size == (192, 160)
    assert choose(seen(images=600)).train_sigmas == [0.1] * 3
    assert choose(seen(each=3)).use_oks


def test_settings_from_weights():
    """COCO's weights: a fifth of the rate, exact constants; drawn images: as from scratch."""
    tuned = choose(pretrained='x.pth', start=StartWeights('x.pth', 4e7))
    assert tuned.lr == 4e-4 and tuned.train_sigmas == tuned.sigmas and tuned.use_oks
    drawn = choose(pretrained='x.pth', start=StartWeights('x.pth', 1e4))
    assert drawn.lr == 2e-3 and drawn.train_sigmas == [0.2] * 3


def test_mirrors_and_turns():
    assert choose(seen(angle=np.pi)).max_rotation == 180
    unknown = seen(flip=None)
    assert not choose(unknown).flip and 'not mirrored' in ' '.join(choose(unknown).reasons)
    with pytest.raises(UserError, match='nobody can tell which key points a mirror exchanges'):
        choose(unknown, flip='horizontal')
    assert not choose(flip='none').flip and choose(flip='both').max_rotation == 180


def test_sigmas_asked_for():
    assert choose(sigmas=(0.03, )).sigmas == [0.03] * 3
    assert choose(sigmas=(0.03, 0.1, 0.1)).sigmas == [0.03, 0.1, 0.1]
    with pytest.raises(UserError, match='--sigmas takes one number or 3'):
        choose(sigmas=(0.03, 0.1))


def annotations(folder: Path, names, count=3) -> CocoSplit:
    """Write a file with an object an image and one image; return the part."""
    import cv2
    folder.mkdir(exist_ok=True)
    images, objects = [], []
    for index in range(count):
        cv2.imwrite(str(folder / f'{index}.png'), np.full((48, 64, 3), 40 * index, np.uint8))
        images.append(dict(id=index, file_name=f'{index}.png', width=64, height=48))
        points = [value for k in range(len(names)) for value in (20. + 5 * k, 20. + 3 * k, 2)]
        objects.append(dict(id=index + 1, image_id=index, category_id=1, iscrowd=0, area=500.,
                            bbox=[10., 10., 30., 30.], keypoints=points,
                            num_keypoints=len(names)))
    category = dict(id=1, name='cat', keypoints=list(names), skeleton=[])
    split = CocoSplit('train', folder, dict(images=images, annotations=objects,
                                            categories=[category]), folder / 'train.json')
    split.ann_file.write_text(json.dumps(split.data))
    return split


def test_config_of_hostile_names(tmp_path):
    """Names are data in it; data set and model of it work."""
    split = annotations(tmp_path / "it's", HOSTILE)
    settings = choose(imgsz=64, freeze=1, head_lr=2.0, patience=9)
    settings.flip = True
    path = tmp_path / 'config.py'
    write_pose_config(path, HOSTILE[0], Keypoints(HOSTILE, True, (0, 2, 1), ((0, 1), )),
                      dict(train=split, val=split), settings)
    cfg = Config.fromfile(path)
    assert cfg.classes == (HOSTILE[0], ) and cfg.metainfo.sigmas == settings.sigmas
    assert [cfg.metainfo.keypoint_info[i]['name'] for i in range(3)] == list(HOSTILE)
    assert cfg.metainfo.keypoint_info[1]['swap'] == HOSTILE[2]
    assert cfg.optim_wrapper.paramwise_cfg.custom_keys == dict(head=dict(lr_mult=2.0))
    assert any(hook.type.endswith('PatienceHook') and hook.monitor == 'coco/AP'
               for hook in cfg.custom_hooks)
    dataset = build_dataset(cfg)
    sample = dataset[0]
    assert sample['inputs'].shape == (3, 64, 64)
    assert dataset.metainfo['flip_indices'] == [0, 2, 1]
    model = build_model(cfg)
    assert model.head.num_keypoints == 3 and model.head.sigmas.tolist() == pytest.approx([.2] * 3)


@pytest.mark.parametrize('size', ['n', 's', 'm', 'l'])
def test_sizes_are_the_published_ones(size, tmp_path):
    """The config's model is that of the size, but for its key points."""
    split = annotations(tmp_path / 'd', ('a', 'b', 'c'))
    settings = choose(imgsz=64)
    settings.model = size
    path = tmp_path / 'config.py'
    write_pose_config(path, 'cat', Keypoints(('a', 'b', 'c'), True, (0, 1, 2)),
                      dict(train=split, val=split), settings)
    own, published = Config.fromfile(path).model, base_pose_model(size).model
    for key in ('backbone', 'neck', 'data_preprocessor'):
        assert own[key] == published[key], key
    for key in published.head:
        if key not in ('sigmas', 'num_keypoints', 'assigner'):
            assert own.head[key] == published.head[key], key


def test_report_of_known_poses(tmp_path):
    """One pose exact, one off by a known distance, one missed, one of nothing."""
    names = ('a', 'b')
    split = annotations(tmp_path / 'd', names)
    sigmas, diagonal = [0.1, 0.1], np.hypot(30, 30)
    truth = np.array(split.data['annotations'][0]['keypoints']).reshape(2, 3)
    off = truth.copy()
    off[1, 0] += 0.08 * diagonal

    def pose(image, points, score, box=(10., 10., 30., 30.)):
        return dict(image_id=image, label=0, score=score, bbox=list(box),
                    keypoints=points.ravel().tolist())

    found = [pose(0, truth, 0.9), pose(1, off, 0.8), pose(1, truth + 200, 0.7, (50, 40, 9, 7))]
    report = evaluate_poses('val', split.data, found, names, sigmas, str(split.ann_file), 0.5)
    assert report.objects == 3 and report.recall == pytest.approx(2 / 3)
    assert report.precision == pytest.approx(2 / 3)
    assert [row.pck10 for row in report.points] == pytest.approx([2 / 3, 2 / 3])
    assert [row.pck5 for row in report.points] == pytest.approx([2 / 3, 1 / 3])
    assert report.points[1].error == pytest.approx(4.0)
    assert {m.kind for m in report.mistakes} >= {'missed', 'nothing there'}
    assert 'OKS AP' in report.to_text() and json.dumps(report.to_dict())
    metric = PosePCKMetric(0.1)
    metric.process([], [dict(
        raw_ann_info=[a for a in split.data['annotations'] if a['image_id'] == image],
        pred_instances=dict(
            keypoints=np.array([d['keypoints'] for d in found if d['image_id'] == image]).reshape(
                -1, 2, 3)[..., :2],
            bbox_scores=[d['score'] for d in found if d['image_id'] == image],
            bboxes=np.array([[*d['bbox'][:2], d['bbox'][0] + d['bbox'][2],
                              d['bbox'][1] + d['bbox'][3]]
                             for d in found if d['image_id'] == image]).reshape(-1, 4)))
        for image in range(3)])
    assert metric.compute_metrics(metric.results)['PCK@0.1'] == pytest.approx(report.pck10)


def test_similarity_is_pycocotools():
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval
    rng = np.random.default_rng(0)
    truth = rng.uniform(0, 50, (3, 4, 3))
    truth[..., 2] = rng.integers(0, 3, (3, 4))
    truth[:, 0, 2] = 2
    poses = truth + rng.normal(0, 3, truth.shape)
    sigmas, areas = [0.05, 0.1, 0.2, 0.03], np.array([900., 400, 2500])
    coco = COCO()
    coco.dataset = dict(images=[dict(id=1)], categories=[dict(id=1)], annotations=[
        dict(id=i + 1, image_id=1, category_id=1, iscrowd=0, area=area, bbox=[0, 0, 50, 50],
             keypoints=item.ravel().tolist(), num_keypoints=int((item[:, 2] > 0).sum()))
        for i, (item, area) in enumerate(zip(truth, areas))])
    coco.createIndex()
    results = coco.loadRes([dict(image_id=1, category_id=1, score=1 - i / 10,
                                 keypoints=item.ravel().tolist()) for i, item in enumerate(poses)])
    judge = COCOeval(coco, results, 'keypoints')
    judge.params.kpt_oks_sigmas = np.array(sigmas)
    judge._prepare()
    assert np.allclose(judge.computeOks(1, 1), similarity(poses, truth, areas, sigmas), atol=1e-6)


def pose_data(root: Path) -> Path:
    """Write images of a bright square with a point at each upper corner."""
    import cv2
    rng = np.random.default_rng(0)
    for part, count in (('train', 8), ('valid', 4)):
        (root / part).mkdir(parents=True)
        images, objects = [], []
        for index in range(count):
            picture = rng.integers(0, 60, (64, 64, 3), dtype=np.uint8)
            x, y = (int(v) for v in rng.integers(4, 24, 2))
            picture[y:y + 32, x:x + 32] = rng.integers(150, 255, 3)
            cv2.imwrite(str(root / part / f'{part}{index}.png'), picture)
            images.append(dict(id=index, file_name=f'{part}{index}.png', width=64, height=64))
            objects.append(dict(id=index, image_id=index, category_id=1, bbox=[x, y, 32, 32],
                                keypoints=[x, y, 2, x + 32, y, 2]))
        (root / part / '_annotations.coco.json').write_text(json.dumps(dict(
            images=images, annotations=objects, categories=[
                dict(id=0, name='all'), dict(id=1, name='<b>square', keypoints=['top_left',
                                                                            'top_right'])])))
    return root


@pytest.mark.long
def test_from_folder_to_report(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr('mmyolonas.workflows.finetune.finetune_settings._MIN_STEPS', 2)
    stage = [dict(out_channels=c, num_blocks=1, hidden_channels=8) for c in (8, 16, 16, 32)]
    neck = [dict(out_channels=c, num_blocks=1, hidden_channels=8) for c in (16, 16, 16, 32)]
    model = tiny.write_config(tmp_path / 'narrow.py', dict(model=dict(
        backbone=dict(arch=dict(stem_channels=8, context_channels=32, stages=stage)),
        neck=dict(arch=dict(in_channels=(8, 16, 16, 32), stages=neck)),
        head=dict(in_channels=(16, 16, 32), feat_channels=(8, 8, 8), pose_channels=(8, 8, 8)))))
    data, work = pose_data(tmp_path / 'dätä'), tmp_path / 'work'
    arguments = [data, '--task', 'pose', '--model', model, '--imgsz', 64, '--epochs', 1,
                 '--work-dir', work]
    assert run_tool(TOOL, *arguments) == 0
    text = capsys.readouterr().out
    for expected in ('a mirror exchanges: top_left - top_right', 'OKS AP', '| top_left | 4 |',
                     'pose_onnxruntime_static.py'):
        assert expected in text, expected
    report = json.loads((work / 'evaluation' / 'report.json').read_text())['val']
    assert report['objects'] == 4 and len(report['points']) == 2
    page = (work / 'report.html').read_text()
    assert 'Key points' in page and '<b>square' not in page and 'What is taken for' not in page
    assert run_tool(TOOL, *arguments) == 0
    assert capsys.readouterr().out.count('done before') == 3


def test_options_of_the_other_task(tmp_path, capsys):
    for arguments, words in ((('--task', 'pose', '--mix', 'mosaic'), '--mix is of detection'),
                             (('--sigmas', '0.1'), 'add --task pose'),
                             (('--model', 'n'), '--model must be s, m, l'),
                             (('--task', 'pose', '--model', 'x'), '--model must be n, s, m, l')):
        assert run_tool(TOOL, tmp_path, *arguments) == 1
        assert words in capsys.readouterr().err
    assert run_tool(TOOL, tmp_path, '--task', 'pose', '--sigmas', '0.1,-1') == 2
    assert 'finite number above 0' in capsys.readouterr().err
