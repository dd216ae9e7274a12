"""The predictor and the demos with a pose estimator."""
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmyolonas.inference.inference import InferenceOptions, Predictor
from mmyolonas.inference.writers import VideoWriter
from mmyolonas.utils.building import build_model
from tests import tiny
from tests.run_tool import run_tool

pytest.importorskip('mmpose')

META = dict(
    dataset_name='stick', joint_weights=[1.0] * 3, sigmas=[0.1] * 3,
    keypoint_info={i: dict(name=n, id=i, color=[255, 0, 10 * i], type='', swap='')
                   for i, n in enumerate(('top', 'middle', 'bottom'))},
    skeleton_info={0: dict(link=('top', 'middle'), id=0, color=[0, 255, 0]),
                   1: dict(link=('middle', 'bottom'), id=1, color=[0, 0, 255])})


def write_model(folder) -> tuple:
    """Write a config and a checkpoint of a narrow pose model with confident predictions."""
    detector = tiny.model_config()
    model = dict(
        type='BottomupPoseEstimator',
        data_preprocessor=dict(type='PoseDataPreprocessor', mean=[0, 0, 0], std=[255, 255, 255],
                               bgr_to_rgb=False, pad_size_divisor=32),
        backbone=detector['backbone'], neck=detector['neck'],
        head=dict(type='mmyolonas.YOLONASPoseHead', num_keypoints=3, in_channels=(16, 16, 32),
                  feat_channels=(8, 8, 8), pose_channels=(8, 8, 8), num_pose_convs=1,
                  sigmas=[0.1] * 3),
        test_cfg=dict(score_thr=0.01, nms_pre=300, nms_thr=0.7, max_per_img=30))
    pipeline = [
        dict(type='LoadImage'),
        dict(type='mmyolonas.PoseResizePad', input_size=(64, 64)),
        dict(type='PackPoseInputs',
             meta_keys=('id', 'img_id', 'img_path', 'ori_shape', 'img_shape', 'input_size',
                        'input_center', 'input_scale', 'flip_indices'))
    ]
    cfg = dict(default_scope='mmpose', data_mode='bottomup', model=model,
               test_dataloader=dict(dataset=dict(
                   type='CocoDataset', metainfo=META, data_mode='bottomup', pipeline=pipeline)))
    config = tiny.write_config(folder / 'config.py', cfg)
    torch.manual_seed(0)
    built = build_model(Config.fromfile(config))
    for level in built.head.levels:
        torch.nn.init.normal_(level.cls_pred.weight, std=2)
        torch.nn.init.zeros_(level.cls_pred.bias)
        torch.nn.init.normal_(level.pose_pred.weight, std=2)
        level.reg_pred.bias.data.view(4, 17).copy_(-torch.arange(17.0) * 0.7)
    checkpoint = folder / 'model.pth'
    torch.save(dict(meta={}, state_dict=built.state_dict()), checkpoint)
    return str(config), str(checkpoint)


@pytest.fixture(scope='module')
def model(tmp_path_factory) -> tuple:
    return write_model(tmp_path_factory.mktemp('model'))


def test_predictor_agrees_with_mmpose(model):
    from mmpose.apis import inference_bottomup, init_model
    image = np.random.default_rng(0).integers(0, 255, (50, 120, 3), dtype=np.uint8)
    predictor = Predictor(*model, InferenceOptions(score_thr=0.3), fuse=False, device='cpu')
    ours, = predictor([image])
    estimator = init_model(*model, device='cpu', cfg_options={'model.test_cfg.score_thr': 0.3})
    theirs = inference_bottomup(estimator, image)[0].pred_instances
    order = np.argsort(-theirs.bbox_scores, kind='stable')
    assert len(ours) == len(order) > 2
    np.testing.assert_allclose(ours.keypoints, theirs.keypoints[order], atol=1e-3)
    np.testing.assert_allclose(ours.boxes, theirs.bboxes[order], atol=1e-3)
    np.testing.assert_allclose(ours.scores, theirs.bbox_scores[order], atol=1e-6)
    np.testing.assert_allclose(ours.keypoint_scores, theirs.keypoint_scores[order], atol=1e-6)
    assert predictor.classes == ('person', )
    assert predictor.meta['skeleton_links'] == [(0, 1), (1, 2)]
    # the colour of the first link (RGB in the config) appears in the drawing
    drawn = predictor.draw(np.zeros_like(image), ours, keypoint_thr=0.0)
    assert (drawn[..., 1] > 150).any()
    record = ours.records(predictor.classes)[0]
    assert record['class'] == 'person' and np.shape(record['keypoints']) == (3, 3)
    fused, = Predictor(*model, InferenceOptions(score_thr=0.3), device='cpu')([image])
    np.testing.assert_allclose(fused.keypoints, ours.keypoints, atol=1e-2)


def test_pose_demos(model, tmp_path, capsys):
    image = np.random.default_rng(0).integers(0, 255, (50, 120, 3), dtype=np.uint8)
    cv2.imwrite(str(tmp_path / 'image.png'), image)
    out = tmp_path / 'out'
    assert run_tool('demo/pose_image_demo.py', *model, tmp_path / 'image.png', '--out-dir', out,
                    '--score-thr', 0.3) == 0
    line, = (out / 'predictions.jsonl').read_text().splitlines()
    found = json.loads(line)['detections']
    assert len(found) > 2 and len(found[0]['keypoints']) == 3
    assert cv2.imread(str(out / 'image.png')).shape == image.shape
    with VideoWriter(tmp_path / 'video.avi', 10) as video:
        for _ in range(3):
            video.write(image)
    assert run_tool('demo/pose_video_demo.py', *model, tmp_path / 'video.avi', '--out',
                    out / 'video.mp4', '--json', tmp_path / 'lines.jsonl') == 0
    assert len((tmp_path / 'lines.jsonl').read_text().splitlines()) == 3
    assert (out / 'video.mp4').stat().st_size > 0
    (tmp_path / 'bad.mp4').write_bytes(b'not a video')
    assert run_tool('demo/pose_video_demo.py', *model, tmp_path / 'bad.mp4') == 1
    assert 'cannot be decoded' in capsys.readouterr().err
