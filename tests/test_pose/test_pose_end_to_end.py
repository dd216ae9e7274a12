"""The pose model inside mmpose: data, training, metrics, inference."""
import json
import logging

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner

pytest.importorskip('mmpose')

NORM = dict(type='BN', momentum=0.1, eps=1e-6)
SIZES = ((48, 64), (64, 48), (40, 40), (64, 64))  # height, width


@pytest.fixture(autouse=True)
def mmpose_scope(no_default_scope):
    """Runners outlive the test that built them."""
    from mmengine.registry import init_default_scope
    init_default_scope('mmpose')


def write_data(folder):
    """Images of different sizes: one person, two, none, one without joints, a crowd."""
    rng = np.random.default_rng(0)
    images, annotations = [], []
    for index, people in enumerate([1, 2, 0, 1, 1, 1]):
        height, width = SIZES[index % len(SIZES)]
        image = rng.integers(0, 60, (height, width, 3), dtype=np.uint8)
        for person in range(people):
            box = [4 + 10 * person, 5, 24, 30]
            points = np.array([[8, 8], [20, 10], [16, 30]]) + [10 * person, 3]
            seen = np.array([2, 1, 2]) if index != 3 else np.zeros(3, int)
            if index == 4:
                points[2] = -5, 200  # outside of the image
            for x, y in points:
                cv2.circle(image, (int(x), int(y)), 2, (0, 200, 255), -1)
            annotations.append(dict(
                id=len(annotations) + 1, image_id=index + 1, category_id=1, bbox=box, area=500,
                iscrowd=int(index == 5), num_keypoints=int((seen > 0).sum()),
                keypoints=np.c_[points, seen].ravel().tolist()))
        cv2.imwrite(str(folder / f'{index}.png'), image)
        images.append(dict(id=index + 1, file_name=f'{index}.png', height=height, width=width))
    categories = [dict(id=1, name='thing', keypoints=['a', 'b', 'c'], skeleton=[])]
    (folder / 'truth.json').write_text(
        json.dumps(dict(images=images, annotations=annotations, categories=categories)))


def config(folder):
    """A whole config around a network of 8 to 32 channels."""
    cfg = Config.fromfile('configs/yolonas_pose/yolonas_pose_n_coco.py')
    stage = [dict(out_channels=c, num_blocks=1, hidden_channels=8) for c in (8, 16, 16, 32)]
    neck = [dict(out_channels=c, num_blocks=1, hidden_channels=8) for c in (16, 16, 16, 32)]
    metainfo = dict(
        dataset_name='things', skeleton_info={}, joint_weights=[1.] * 3, sigmas=[0.1] * 3,
        keypoint_info={
            0: dict(name='a', id=0, color=[255, 0, 0], type='', swap=''),
            1: dict(name='b', id=1, color=[0, 255, 0], type='', swap='c'),
            2: dict(name='c', id=2, color=[0, 0, 255], type='', swap='b')})
    for name, arch in dict(
            backbone=dict(stem_channels=8, context_channels=32, stages=stage),
            neck=dict(in_channels=(8, 16, 16, 32), stages=neck),
            head=dict(in_channels=(16, 16, 32), feat_channels=(8, 8, 8), pose_channels=(8, 8, 8),
                      num_pose_convs=(1, 1, 1))).items():
        cfg.model[name].update(arch=arch, norm_cfg=NORM)
    cfg.model.head.update(num_keypoints=3, sigmas=0.1)
    cfg.train_cfg.update(max_epochs=2, val_interval=2)
    cfg.work_dir = str(folder / 'out')
    for loader in (cfg.train_dataloader, cfg.val_dataloader, cfg.test_dataloader):
        loader.batch_size, loader.num_workers, loader.persistent_workers = 3, 0, False
        loader.dataset.update(
            data_root=str(folder), ann_file='truth.json', data_prefix=dict(img=''),
            metainfo=metainfo)
        for step in loader.dataset.pipeline:
            if step.type == 'mmyolonas.PoseResizePad':
                step.input_size = (64, 64)
    truth = str(folder / 'truth.json')
    evaluators = [dict(cfg.val_evaluator, ann_file=truth),
                  dict(type='mmyolonas.PoseCocoMetric', ann_file=truth, prefix='ours'),
                  dict(type='mmyolonas.PosePCKMetric')]
    cfg.val_evaluator = cfg.test_evaluator = evaluators
    cfg.experiment_name = folder.name
    return cfg


@pytest.fixture(scope='module')
def trained(tmp_path_factory):
    """A training of two epochs: (runner, folder)."""
    folder = tmp_path_factory.mktemp('pose')
    write_data(folder)
    logging.disable(logging.INFO)
    runner = Runner.from_cfg(config(folder))
    runner.train()
    logging.disable(logging.NOTSET)
    return runner, folder


@pytest.mark.long
def test_training_runs_and_both_metrics_agree(trained):
    runner, _ = trained
    assert runner.iter == 4
    metrics = runner.test()
    for name in ('AP', 'AP .5', 'AR', 'AP (M)'):
        assert metrics[f'coco/{name}'] == pytest.approx(metrics[f'ours/{name}'], abs=1e-6)
    assert 0 <= metrics['pck/PCK@0.1'] <= 1
    assert all(torch.isfinite(p).all() for p in runner.model.parameters())


def test_images_without_persons_are_trained_on(trained):
    runner, _ = trained
    dataset = runner.train_dataloader.dataset
    assert len(dataset) == 6
    np.random.seed(0)
    counts = set()
    for index in range(6):
        labels = dataset[index]['data_samples'].gt_instance_labels
        assert labels.keypoints.shape[1:] == (3, 2)
        counts.add(len(labels.bboxes))
    assert 0 in counts


def test_coordinates_come_back_to_the_original_image(trained):
    """Perfect predictions in the network's frame give an AP of 1."""
    runner, folder = trained
    truth = json.loads((folder / 'truth.json').read_text())['annotations']
    model, metric = runner.model, runner.test_evaluator.metrics
    for part in metric:
        part.results.clear()
    for data in runner.test_dataloader:
        samples = data['data_samples']

        def perfect(feats, batch_data_samples, test_cfg=None):
            results = []
            for sample in batch_data_samples:
                rows = [a for a in truth if a['image_id'] == sample.img_id]
                scale = sample.input_size[0] / sample.input_scale[0]
                points = np.array([a['keypoints'] for a in rows]).reshape(-1, 3, 3) * scale
                boxes = np.array([a['bbox'] for a in rows]).reshape(-1, 4) * scale
                boxes[:, 2:] += boxes[:, :2]
                instance = type(sample.gt_instances)()
                instance.keypoints, instance.bboxes = points[..., :2], boxes
                instance.keypoint_scores = np.ones(points.shape[:2])
                instance.bbox_scores = np.ones(len(rows))
                results.append(instance)
            return results

        original, model.head.predict = model.head.predict, perfect
        outputs = model.test_step(data)
        model.head.predict = original
        assert len({tuple(s.ori_shape) for s in samples}) > 1  # sizes are mixed
        for part in metric:
            part.process(data, [sample.to_dict() for sample in outputs])
    scores = [part.compute_metrics(part.results) for part in metric]
    assert scores[0]['AP'] == pytest.approx(1.0) and scores[1]['AP'] == pytest.approx(1.0)
    assert scores[2]['PCK@0.1'] == 1.0


def test_inferencer(trained):
    from mmpose.apis import MMPoseInferencer
    runner, folder = trained
    config_file = folder / 'config.py'
    runner.cfg.dump(str(config_file))
    weights = folder / 'weights.pth'
    torch.save(dict(state_dict=runner.model.state_dict(),
                    meta=dict(dataset_meta=runner.train_dataloader.dataset.metainfo)), weights)
    inferencer = MMPoseInferencer(
        pose2d=str(config_file), pose2d_weights=str(weights), device='cpu', scope='mmpose')
    image = np.random.default_rng(0).integers(0, 255, (33, 57, 3), dtype=np.uint8)
    result = next(inferencer(image, return_vis=True, bbox_thr=0.0, kpt_thr=0.0))
    for pose in result['predictions'][0]:
        assert np.shape(pose['keypoints']) == (3, 2)
    assert result['visualization'][0].shape == (33, 57, 3)


@pytest.mark.parametrize('size', 'nsml')
def test_published_configs_build(size):
    """Every size builds, with the recipe's numbers."""
    from mmpose.registry import MODELS
    cfg = Config.fromfile(f'configs/yolonas_pose/yolonas_pose_{size}_coco.py')
    with torch.device('meta'):
        model = MODELS.build(cfg.model)
    batch = dict(n=60, s=48, m=32, l=24)[size]
    lr = dict(n=2e-3, s=2e-3, m=1e-4, l=8e-5)[size]
    momentum = dict(n=0.03, s=0.1, m=0.1, l=0.03)[size]
    weights = dict(n=(0.01, 34), s=(0.01, 34), m=(0.5, 10), l=(0.5, 10))[size]
    assert cfg.train_dataloader.batch_size == batch
    assert cfg.auto_scale_lr.base_batch_size == 8 * batch
    assert cfg.optim_wrapper.optimizer.lr == lr
    assert cfg.param_scheduler[0].start_factor * lr == pytest.approx(1e-6)
    assert cfg.custom_hooks[0].schedule == ('threshold' if size in 'ns' else 'exp')
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            assert (module.eps, module.momentum) == (1e-6, momentum)
    assert (model.head.loss_dfl.loss_weight, model.head.loss_kpt.loss_weight) == weights
    steps = [step.type for step in cfg.train_dataloader.dataset.pipeline]
    assert ('mmyolonas.PoseRandomRot90' in steps) == (size in 'ml')
    mosaic = cfg.train_dataloader.dataset.pipeline[steps.index('mmyolonas.PoseMosaic')]
    assert [step.type for step in mosaic.pre_transform] == steps[:steps.index(
        'mmyolonas.PoseMosaic')]
