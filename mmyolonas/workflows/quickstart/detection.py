"""Detection: drawn shapes, and the way to a deployed 8-bit file."""
import json
from typing import Any, Dict, List

import numpy as np

from mmyolonas.utils.configs import installed_config
from mmyolonas.utils.files import write_image
from mmyolonas.utils.stages import Results, Stage
from mmyolonas.workflows.quickstart.job import Context, Task

METRIC = 'coco/bbox_mAP'
_TESTED = r'Epoch\(test\) \[ *\d+/\d+\]  +eta.*'


def generate(folder: str, num_train: int, num_val: int) -> None:
    """Draw images of shapes."""
    from mmyolonas.datasets.samples.sample_data import generate_detection_samples
    generate_detection_samples(folder, num_train, num_val)


def draw_truth(image: np.ndarray, found: List[dict], truth: dict, predictor: Any) -> np.ndarray:
    """Draw the annotated boxes of an image into it."""
    from mmyolonas.visualization import draw_boxes
    numbers = {category['id']: index for index, category in enumerate(truth['categories'])}
    boxes = np.array([a['bbox'] for a in found], float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return draw_boxes(image, boxes, [numbers[a['category_id']] for a in found],
                      classes=predictor.classes, palette=predictor.palette)


def deploy_config() -> str:
    """Return the deploy config of these stages."""
    return str(installed_config('mmyolonas::deploy/detection_onnxruntime_static.py'))


def export(context: Context) -> Results:
    """Export to ONNX; accuracy and latency in ONNX Runtime beside PyTorch; a picture."""
    import torch

    from mmyolonas.deploy.pipeline import load_model
    from mmyolonas.runtime import Runtime
    from mmyolonas.utils.configs import load_config
    folder, checkpoint = context.work_dir / 'deployed', str(context.checkpoint())
    image, path = context.an_image(), str(folder / 'end2end.onnx')
    context.run('deploy.py', [deploy_config(), context.config, checkpoint, image,
                              '--work-dir', folder, '--no-picture'],
                'export', show=r'exporting.*|largest difference.*')
    metrics = folder / 'metrics.json'
    context.run('test_deployed.py',
                [deploy_config(), context.config, '--model', path, '--checkpoint', checkpoint,
                 '--work-dir', folder / 'evaluation', '--out', metrics, '--cfg-options',
                 *context.cfg_options], 'export_evaluation', show=_TESTED)
    scores = json.loads(metrics.read_text())
    model = load_model(load_config(str(context.config)), checkpoint)
    with Runtime(path, num_threads=torch.get_num_threads()) as runtime:
        times = network_latency(runtime, model, runtime.preprocess([image])[0])
        picture = folder / 'runtime.png'
        write_image(picture, runtime(image).above(0.4).draw(image))
    return {'mAP PyTorch': scores['PyTorch'][METRIC], 'mAP ONNX Runtime': scores[path][METRIC],
            'ms PyTorch': round(times['PyTorch'], 1),
            'ms ONNX Runtime': round(times['onnxruntime'], 1), 'picture': picture}


def network_latency(runtime: Any, model: Any, blob: np.ndarray,
                    repeats: int = 10) -> Dict[str, float]:
    """Return the median time of one image in a file and in PyTorch, measured in turn.

    The file's time includes suppression if its graph does; PyTorch's is that of
    the fused network with decoding.

    Args:
        runtime (Runtime): The exported file.
        model (nn.Module): The model.
        blob (ndarray): Network input of shape (1, 3, H, W).
        repeats (int): Measured runs of each, after two that are not.

    Returns:
        dict[str, float]: Milliseconds by name: the backend's and ``'PyTorch'``.
    """
    import torch

    from mmyolonas.export.fusion import prepare_model
    from mmyolonas.runtime.timing import measure
    fused = prepare_model(model)
    head = fused.bbox_head if hasattr(fused, 'bbox_head') else fused.head

    @torch.no_grad()
    def forward(image: np.ndarray) -> None:
        head.decode(fused.neck(fused.backbone(torch.from_numpy(image))))

    times = measure({runtime.session.backend: runtime.infer, 'PyTorch': forward}, blob,
                    repeats=repeats, warm_up=2)
    return {name: value.median for name, value in times.items()}


def int8(context: Context) -> Results:
    """Make 8-bit files: all layers, and a choice of them; AP, latency, size, charts, a picture."""
    folder = context.work_dir / 'int8'
    context.run('quantize.py',
                [context.config, context.checkpoint(), '--method', 'selective', '--frontier', 2,
                 '--work-dir', folder, '--calib-images', min(16, context.num_train),
                 '--analysis-images', min(48, context.num_val),
                 '--noise-images', min(6, context.num_val), '--noise-plans', 6,
                 '--cfg-options', *context.cfg_options],
                'int8', show=r'(?:calibration|noise|AP of random plans|plans).*')
    results: Results = {}
    for row in json.loads((folder / 'report.json').read_text())['rows']:
        results[row['name']] = (f'AP {row["ap"]:.1f}, {row["latency_ms"]:.1f} ms, '
                                f'{row["size_mb"]:.1f} MB')
    complete = context.work_dir / 'deployed_int8'
    context.run('deploy.py',
                [deploy_config(), context.config, context.checkpoint(), context.an_image(),
                 '--onnx', folder / 'selective.onnx', '--work-dir', complete],
                'int8_export', show=r'.* found, those above.*')
    return {**results, 'with suppression': complete / 'end2end.onnx',
            'costs': folder / 'costs.png', 'report': folder / 'report.png'}


def curves(context: Context) -> Results:
    """Plot loss, learning rate and validation."""
    from mmyolonas.visualization import plot_curves, read_log
    path = context.work_dir / 'curves.png'
    plot_curves({'training': read_log(context.train_dir)}, path)
    return dict(picture=path)


TASK = Task(
    'Quickstart: YOLO-NAS-S on generated shapes', 'yolonas/yolonas_s_sample.py',
    'work_dirs/quickstart', 'data/sample_shapes', 'instances',
    {'mAP': METRIC, 'mAP50': f'{METRIC}_50', 'mAP75': f'{METRIC}_75'}, generate, draw_truth, [
        Stage('export', 'Export to ONNX, beside PyTorch', export,
              lambda c: [c.work_dir / 'deployed' / 'runtime.png']),
        Stage('int8', 'INT8: post-training quantisation and selection', int8,
              lambda c: [c.work_dir / 'int8' / 'report.json',
                         c.work_dir / 'deployed_int8' / 'end2end.onnx']),
        Stage('curves', 'Training curves', curves, lambda c: [c.work_dir / 'curves.png']),
    ])
