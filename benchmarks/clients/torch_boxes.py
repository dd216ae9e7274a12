"""Clients of the checkpoint that OpenMMLab wrote: rows x1, y1, x2, y2, score, label."""
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Dict, List

Boxes = List[List[List[float]]]


def rows_of(instances: Any) -> List[List[float]]:
    """Return the rows of mmdet's instances."""
    return [[*map(float, box), float(score), int(label)] for box, score, label in zip(
        instances.bboxes, instances.scores, instances.labels)]


def detector(job: Dict[str, Any]) -> Boxes:
    """``init_detector`` and ``inference_detector``."""
    from mmdet.apis import inference_detector, init_detector

    model = init_detector(job['config'], job['checkpoint'], device='cpu')
    return [rows_of(inference_detector(model, image).pred_instances) for image in job['images']]


def inferencer(job: Dict[str, Any]) -> Boxes:
    """``DetInferencer``."""
    from mmdet.apis import DetInferencer

    client = DetInferencer(job['config'], job['checkpoint'], device='cpu', show_progress=False)
    found = client(job['images'], no_save_vis=True)['predictions']
    return [[[*box, score, label] for box, score, label in zip(
        item['bboxes'], item['scores'], item['labels'])] for item in found]


def test_tool(job: Dict[str, Any]) -> Boxes:
    """Mmdet's ``tools/test.py --out``, with the pictures as test data."""
    images, annotations = Path(job['images'][0]).parent, job['annotations']
    options = [f'test_dataloader.dataset.data_root={images}/',
               f'test_dataloader.dataset.ann_file={annotations}',
               'test_dataloader.dataset.data_prefix.img=', f'test_evaluator.ann_file={annotations}']
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder, 'found.pkl')
        subprocess.run([sys.executable, '-m', 'mmyolonas.run', 'mmdet::tools/test.py',
                        job['config'], job['checkpoint'], '--work-dir', folder, '--out', str(out),
                        '--cfg-options', *options], check=True)
        with open(out, 'rb') as file:  # written a moment ago, by the line above
            items = {Path(item['img_path']).name: item['pred_instances']
                     for item in pickle.load(file)}
    return [[[*map(float, box), float(score), int(label)] for box, score, label in zip(
        found['bboxes'], found['scores'], found['labels'])]
        for found in (items[Path(image).name] for image in job['images'])]


def mmdeploy_api(job: Dict[str, Any]) -> Boxes:
    """``mmdeploy.apis.inference_model`` on the exported file."""
    from mmdeploy.apis import inference_model

    return [rows_of(inference_model(job['config'], job['deploy_config'], [job['file']], image,
                                    'cpu')[0].pred_instances) for image in job['images']]
