"""mmyolonas:: names wherever a config is taken, and the thresholds of mmpose's inferencers."""
import subprocess
import sys

import numpy as np
import pytest
import torch

from mmyolonas.compat import repairs

DETECTION, POSE = 'mmyolonas::yolonas/yolonas_s_sample.py', 'mmyolonas::yolonas_pose/{}'


def test_config_fromfile():
    from mmengine.config import Config
    cfg = Config.fromfile(DETECTION)
    assert cfg.model.type == 'mmyolonas.YOLONAS' and cfg.model.bbox_head.num_classes == 5
    with pytest.raises(FileNotFoundError, match='no_such.py'):
        Config.fromfile('mmyolonas::yolonas/no_such.py')
    states = {item.name: item.status for item in repairs()}
    assert states['mmyolonas:: in Config.fromfile and inferencers'] == 'applied'


def test_init_detector_and_det_inferencer():
    pytest.importorskip('mmdet')
    from mmdet.apis import DetInferencer, init_detector
    model = init_detector(DETECTION, device='cpu')
    assert model.bbox_head.num_classes == 5
    inferencer = DetInferencer(DETECTION, device='cpu', show_progress=False)
    image = np.zeros((64, 96, 3), np.uint8)
    found = inferencer(image, no_save_pred=True, no_save_vis=True)['predictions'][0]
    assert set(found) == {'labels', 'scores', 'bboxes'}
    with pytest.raises(ValueError, match='Cannot find model'):
        DetInferencer('no-such-model', device='cpu')


def pose_config():
    """Return a pose config's installed name."""
    from pathlib import Path
    root = Path(__file__).resolve().parents[1] / 'configs' / 'yolonas_pose'
    return POSE.format('yolonas_pose_n_sample.py' if (root / 'yolonas_pose_n_sample.py').is_file()
                       else 'yolonas_pose_n_coco.py')


def test_mmpose_inferencers_keep_the_thresholds():
    pytest.importorskip('mmpose')
    from mmpose.apis import MMPoseInferencer
    inferencer = MMPoseInferencer(pose_config(), device='cpu', show_progress=False)
    model = inferencer.inferencer.model
    seen = []
    predict = model.head.predict

    def watch(feats, samples, test_cfg=None):
        seen.append(dict(test_cfg or model.head.test_cfg))
        return predict(feats, samples, test_cfg)

    model.head.predict = watch
    image = np.zeros((64, 96, 3), np.uint8)
    with torch.no_grad():
        next(inferencer(image))
        next(inferencer(image, nms_thr=0.45, bbox_thr=0.2))
    own = model.head.test_cfg
    assert (own['score_thr'], own['nms_thr']) != (0.3, 0.3)
    assert (seen[0]['score_thr'], seen[0]['nms_thr']) == (own['score_thr'], own['nms_thr'])
    assert (seen[1]['score_thr'], seen[1]['nms_thr']) == (0.2, 0.45)


def test_order_of_imports_does_not_matter():
    """The names work too where the hosts were imported first."""
    pytest.importorskip('mmdet')
    code = ('import mmengine.infer.infer, mmyolonas, mmdet.apis; '
            f'from mmengine.config import Config; print(Config.fromfile({DETECTION!r}).img_scale)')
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', code], capture_output=True,
                          text=True)
    assert done.stdout.strip().endswith('(192, 192)'), done.stderr[-500:]
