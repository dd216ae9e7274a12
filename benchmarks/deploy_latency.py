"""Latency of the exported detector, from a decoded image to boxes, against its peer's export.

Both models hold the same weights and see the same images, in ONNX Runtime with the same number
of threads. modern-yolonas exports the network with decoding and suppresses in torch; our file
suppresses itself. Each runs in its own interpreter; the workers are asked in turn, so that the
ratios survive a busy machine. OpenVINO runs our file too.

    python -m venv .venv-peer && .venv-peer/bin/pip install 'modern-yolonas[onnx]==0.5.0'
    python benchmarks/deploy_latency.py --peer-python .venv-peer/bin/python --images data/bccd/test
"""
import argparse
import json
import os
import sys
import tempfile
from pathlib import Path
from typing import Any, Callable, Dict, List

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.common import Worker, compare, interleave, serve, table, timed, write_json

OURS = 'mmyolonas, ONNX Runtime'
PARTS = {
    'network': 'the session alone (ours: with suppression)',
    'pipeline': 'from the decoded image to boxes',
}


# ---------------------------------------------------------------- in the workers
def read_images(folder: str, limit: int) -> List[Any]:
    """Return up to ``limit`` decoded images."""
    import cv2
    names = sorted(name for name in os.listdir(folder) if name.endswith(('.jpg', '.png')))
    return [cv2.imread(os.path.join(folder, name)) for name in names[:limit]]


class Ours:
    """The runtime of this package.

    Args:
        path (str): Exported file.
        backend (str): Runtime.
        threads (int): Threads.
        images (list): Decoded images.
    """

    def __init__(self, path: str, backend: str, threads: int, images: list) -> None:
        from mmyolonas.runtime.runtime import Runtime
        self.runtime = Runtime(path, backend, num_threads=threads)
        self.images = images
        self.blob = self.runtime.preprocess(images[:1])[0]

    def network(self, index: int) -> None:
        """Run the session."""
        self.runtime.infer(self.blob)

    def pipeline(self, index: int) -> int:
        """Detect in an image; returns the number of boxes."""
        return len(self.runtime(self.images[index % len(self.images)]))


class Peer:
    """modern-yolonas: its pre-processing, its ONNX file, its post-processing.

    Args:
        path (str): State dict in SuperGradients' layout.
        threads (int): Threads.
        images (list): Decoded images.
        threshold (float): Score threshold.
    """

    def __init__(self, path: str, threads: int, images: list, threshold: float) -> None:
        import onnxruntime as ort
        import torch
        from modern_yolonas.inference.preprocess import preprocess
        torch.set_num_threads(threads)
        self.images, self.threshold = images, threshold
        options = ort.SessionOptions()
        # as in ours: idle threads must not disturb the one that is measured next
        options.add_session_config_entry('session.force_spinning_stop', '1')
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        self.session = ort.InferenceSession(
            self.export(path), options, providers=['CPUExecutionProvider'])
        self.blob = preprocess(images[0])[0].numpy()

    @staticmethod
    def export(path: str) -> str:
        """Export as its command ``yolonas export`` does."""
        import torch
        from modern_yolonas import yolo_nas_s
        state = torch.load(path, weights_only=True)
        classes = state['heads.head1.cls_pred.weight'].shape[0]
        model = yolo_nas_s(pretrained=False, num_classes=classes)
        missing = model.load_state_dict(state, strict=False)
        wrong = [k for k in missing.missing_keys if 'rbr_reparam' not in k] + [
            k for k in missing.unexpected_keys if 'rbr_reparam' not in k]
        if wrong:
            raise RuntimeError(f'weights do not fit: {wrong[:5]}')
        model.eval()
        for module in model.modules():
            if hasattr(module, 'fuse_block_residual_branches'):
                module.fuse_block_residual_branches()
        out = f'{path}.peer.onnx'
        names = ['images', 'pred_bboxes', 'pred_scores']
        torch.onnx.export(
            model, torch.randn(1, 3, 640, 640), out, input_names=names[:1],
            output_names=names[1:], dynamic_axes={name: {0: 'batch'} for name in names},
            opset_version=17)
        return out

    def network(self, index: int) -> None:
        """Run the session."""
        self.session.run(None, {'images': self.blob})

    def pipeline(self, index: int) -> int:
        """Detect in an image; returns the number of boxes."""
        import torch
        from modern_yolonas.inference.postprocess import postprocess, rescale_boxes
        from modern_yolonas.inference.preprocess import preprocess
        image = self.images[index % len(self.images)]
        tensor, scale, pad = preprocess(image)
        outputs = self.session.run(None, {'images': tensor.numpy()})
        boxes, scores, labels = postprocess(
            *map(torch.from_numpy, outputs), self.threshold, 0.7)[0]
        return len(rescale_boxes(boxes, scale, pad, image.shape[:2]))


def build_handlers(args: argparse.Namespace) -> Dict[str, Callable]:
    """Return what a worker can do."""
    images = read_images(args.images, 16)
    if args.worker == 'peer':
        subject: Any = Peer(args.state, args.threads, images, args.threshold)
    else:
        subject = Ours(args.model, args.worker, args.threads, images)
    counter = iter(range(10**9))

    def time(part: str, repeats: int, clock: str) -> List[float]:
        function = getattr(subject, part)
        return timed(lambda: function(next(counter)), repeats, clock)

    def count() -> List[int]:
        return [subject.pipeline(index) for index in range(len(images))]

    return dict(time=time, count=count)


# ---------------------------------------------------------------- in the driver
def export_ours(folder: str, args: argparse.Namespace) -> Dict[str, str]:
    """Export the model and its weights for both; return the files."""
    import torch
    from mmengine.config import Config

    import mmyolonas  # noqa: F401
    from mmyolonas.deploy.pipeline import load_model
    from mmyolonas.export.config_metadata import metadata_from_config
    from mmyolonas.export.export import export_onnx
    from mmyolonas.model_converters.supergradients import to_supergradients
    cfg = Config.fromfile(args.config)
    torch.manual_seed(0)
    model = load_model(cfg, args.checkpoint)
    metadata = metadata_from_config(cfg)
    if not args.checkpoint:
        spread_scores(model, metadata, read_images(args.images, 4), args.threshold)
    metadata.postprocess.score_threshold = args.threshold
    metadata.postprocess.pre_top_k, metadata.postprocess.iou_threshold = 1024, 0.7
    onnx_path = os.path.join(folder, 'ours.onnx')
    report = export_onnx(model, onnx_path, metadata=metadata)
    state_path = os.path.join(folder, 'state.pth')
    torch.save(to_supergradients(dict(state_dict=model.state_dict()))[0]['net'], state_path)
    print(f'exported: {report.num_nodes} nodes, differences {report.errors}', file=sys.stderr)
    return dict(model=onnx_path, state=state_path)


def spread_scores(model: Any, metadata: Any, images: List[Any], threshold: float) -> None:
    """Shift an untrained model's scores so that some 300 pairs of an image pass the threshold."""
    import math

    import torch

    from mmyolonas.runtime.numpy_ops import letterbox
    blob = torch.stack([torch.from_numpy(letterbox(x, metadata.preprocess)[0]) for x in images])
    with torch.no_grad():
        scores = torch.cat([x.flatten(1) for x in model.bbox_head(model.extract_feat(blob))[0]], 1)
        centre = scores.topk(300, dim=1).values[:, -1].mean()
        for level in model.bbox_head.levels:
            level.cls_pred.bias.sub_(centre - math.log(threshold / (1 - threshold)))


def tail_share(path: str, threads: int, image: str, repeats: int = 20) -> Dict[str, float]:
    """Return the share of decoding and suppression in ONNX Runtime's own profile.

    Kernel times are summed over the nodes of a run; the median over runs counts.
    """
    import numpy as np
    import onnxruntime as ort

    from mmyolonas.runtime.runtime import Runtime
    with Runtime(path) as runtime:
        blob = runtime.preprocess([image])[0]
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.enable_profiling = True
    options.profile_file_prefix = os.path.join(os.path.dirname(path), 'profile')
    session = ort.InferenceSession(path, options, providers=['CPUExecutionProvider'])
    for _ in range(repeats):
        session.run(None, {'input': blob})
    with open(session.end_profiling(), encoding='utf-8') as file:
        events = [e for e in json.load(file) if e.get('cat') == 'Node'
                  and e['name'].endswith('_kernel_time')]
    times: Dict[str, List[float]] = {}
    for event in events:
        times.setdefault(event['name'], []).append(event['dur'] / 1e3)
    medians = {name: float(np.median(values)) for name, values in times.items()}
    tail = sum(v for name, v in medians.items() if name.startswith(('decode', 'nms')))
    return dict(tail_ms=tail, total_ms=sum(medians.values()), share=tail / sum(medians.values()))


def parse_args() -> argparse.Namespace:
    """Return the command line's arguments."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--peer-python', help='interpreter with modern-yolonas[onnx]')
    parser.add_argument('--images', default='data/bccd/test', help='folder of images')
    parser.add_argument('--config', default='configs/yolonas/yolonas_s_coco.py')
    parser.add_argument('--checkpoint', help='weights; untrained ones if left out')
    parser.add_argument('--threshold', type=float, default=0.25, help='score threshold')
    parser.add_argument('--threads', type=int, default=2)
    parser.add_argument('--rounds', type=int, default=20)
    parser.add_argument('--repeats', type=int, default=3, help='runs per round and worker')
    parser.add_argument('--clock', choices=['wall', 'cpu'], default='wall')
    parser.add_argument('--no-openvino', action='store_true')
    parser.add_argument('--out', help='write the figures as JSON')
    for name in ('worker', 'model', 'state'):
        parser.add_argument(f'--{name}', help=argparse.SUPPRESS)
    return parser.parse_args()


def main() -> None:
    """Run the benchmark."""
    args = parse_args()
    if args.worker:
        serve(lambda: build_handlers(args))
        return
    with tempfile.TemporaryDirectory() as folder:
        files = export_ours(folder, args)
        base = [__file__, '--images', args.images, '--threads', str(args.threads), '--threshold',
                str(args.threshold), '--model', files['model'], '--state', files['state']]
        workers = [Worker(OURS, sys.executable, [*base, '--worker', 'onnxruntime'], args.threads)]
        if not args.no_openvino:
            workers.append(Worker('mmyolonas, OpenVINO', sys.executable,
                                  [*base, '--worker', 'openvino'], args.threads))
        if args.peer_python:
            workers.append(Worker('modern-yolonas 0.5.0, ONNX Runtime', args.peer_python,
                                  [*base, '--worker', 'peer'], args.threads))
        try:
            counts = {worker.name: worker.call('count') for worker in workers}
            print('boxes per image:', {name: sum(c) / len(c) for name, c in counts.items()})
            sections = {}
            for part, meaning in PARTS.items():
                seconds = interleave(workers, 'time', args.rounds, part, part=part,
                                     repeats=args.repeats, clock=args.clock)
                sections[part] = compare(seconds, OURS)
                print(f'\n{table(sections[part], meaning)}')
        finally:
            for worker in workers:
                worker.close()
        names = sorted(os.listdir(args.images))
        image = next(name for name in names if name.endswith(('.jpg', '.png')))
        share = tail_share(files['model'], args.threads, os.path.join(args.images, image))
        print(f'\ndecoding and suppression: {share["tail_ms"]:.2f} of {share["total_ms"]:.1f} ms, '
              f'{100 * share["share"]:.1f} %')
    if args.out:
        write_json(args.out, **sections, tail=share, counts=counts)


if __name__ == '__main__':
    main()
