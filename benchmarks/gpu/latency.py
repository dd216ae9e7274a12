"""Stage 4: latency of the networks, fused, to decoded boxes of every prior."""
import statistics
import time
from typing import Any, Dict, List

import numpy as np
import torch

from benchmarks.gpu.items import Item, Settings, Skip
from benchmarks.gpu.machine import CardWatch
from benchmarks.gpu.models import MODELS, build, head_of, milliseconds

#: Milliseconds on a T4 by TensorRT, batch 1, 640 px, as SuperGradients' YOLONAS.md and
#: YOLONAS-POSE.md give them: another card, another runtime, beside ours and not against it.
PUBLISHED_T4 = dict(
    s=dict(fp16=3.21, int8=2.36), m=dict(fp16=5.85, int8=3.78), l=dict(fp16=7.87, int8=4.78),
    pose_n=dict(fp16=2.35), pose_s=dict(fp16=3.29), pose_m=dict(fp16=6.87), pose_l=dict(fp16=8.86))
RUNTIMES = ('torch', 'onnxruntime', 'compiled')
BATCHES = (1, 16)


def items(settings: Settings) -> List[Item]:
    """Return an item for each runtime and model."""
    models = MODELS if not settings.rehearse else ('s', ) if settings.quick else ('s', 'pose_n')
    runtimes = RUNTIMES[:2] if settings.rehearse else RUNTIMES
    seconds = dict(torch=15, onnxruntime=40, compiled=90)
    return [Item(f'{runtime}/{name}', seconds[runtime]) for runtime in runtimes
            for name in models]


def run(key: str, settings: Settings) -> Dict[str, Any]:
    """Do an item."""
    runtime, name = key.split('/')
    measure = dict(torch=_torch, compiled=_torch, onnxruntime=_onnxruntime)[runtime]
    found: Dict[str, Any] = dict(published_t4_ms=PUBLISHED_T4[name], size=settings.size)
    for precision in ('fp32', 'fp16') if settings.on_gpu else ('fp32', ):
        for batch in BATCHES if not settings.rehearse else (1, 2):
            with CardWatch(settings.device) as watch:
                times = measure(name, precision, batch, settings, runtime == 'compiled')
            found[f'{precision} batch {batch}'] = dict(summary(times, batch), **watch.summary())
    return found


def summary(times: List[float], batch: int) -> Dict[str, float]:
    """Return what is told of the milliseconds of runs."""
    return dict(median_ms=statistics.median(times), p5_ms=float(np.percentile(times, 5)),
                p95_ms=float(np.percentile(times, 95)), runs=len(times),
                images_a_second=1e3 * batch / statistics.median(times))


class Decoded(torch.nn.Module):
    """A fused model up to boxes and scores of every prior."""

    def __init__(self, name: str) -> None:
        super().__init__()
        from mmyolonas.export.fusion import prepare_model
        self.model = prepare_model(build(name).eval())

    def forward(self, images: torch.Tensor) -> tuple:
        """Return boxes and scores (and key points) of (B, 3, H, W) images."""
        return head_of(self.model).decode(self.model.neck(self.model.backbone(images)))


def _repeats(settings: Settings) -> int:
    return 3 if settings.rehearse else 200


@torch.no_grad()
def _torch(name: str, precision: str, batch: int, settings: Settings,
           compiled: bool) -> List[float]:
    """Return the times of the network, by a CUDA graph where it is compiled."""
    model = Decoded(name).to(settings.device)
    dtype = torch.float16 if precision == 'fp16' else torch.float32
    model = model.to(dtype=dtype, memory_format=torch.channels_last)
    images = torch.rand(batch, 3, settings.size, settings.size, dtype=dtype,
                        device=settings.device).to(memory_format=torch.channels_last)
    torch.backends.cudnn.benchmark = True
    call = torch.compile(model, mode='reduce-overhead') if compiled else model
    return milliseconds(lambda: call(images), settings.device, _repeats(settings),
                        1 if settings.rehearse else 20)


def export(name: str, batch: int, settings: Settings, nms: str = 'none') -> str:
    """Return the path of an ONNX file of a model; it is exported if it is not there."""
    path = settings.folder('onnx') / f'{name}_{settings.size}_b{batch}_{nms}.onnx'
    if not path.exists():
        from mmyolonas.export.export import export_onnx
        export_onnx(build(name).eval(), str(path), (batch, 3, settings.size, settings.size),
                    nms=nms, verify=False)
    return str(path)


def _onnxruntime(name: str, precision: str, batch: int, settings: Settings,
                 compiled: bool) -> List[float]:
    """Return the times of ONNX Runtime; on a GPU input and output stay there."""
    try:
        import onnxruntime as ort
    except ImportError as error:
        raise Skip('onnxruntime is not installed') from error
    provider = 'CUDAExecutionProvider' if settings.on_gpu else 'CPUExecutionProvider'
    if provider not in ort.get_available_providers():
        raise Skip(f'this onnxruntime ({ort.__version__}) has no {provider}: its package for GPUs '
                   'is onnxruntime-gpu; has ' + ', '.join(ort.get_available_providers()))
    if settings.on_gpu and hasattr(ort, 'preload_dlls'):
        ort.preload_dlls()  # cuDNN and cuBLAS of torch's own packages
    path = export(name, batch, settings)
    if precision == 'fp16':
        path = _half(path)
    session = ort.InferenceSession(path, providers=[provider])
    if session.get_providers()[0] != provider:
        raise Skip(f'{provider} did not start: onnxruntime fell back to '
                   f'{session.get_providers()[0]}')
    shape = (batch, 3, settings.size, settings.size)
    image = np.random.default_rng(0).random(shape, np.float32)
    binding = session.io_binding()
    place = 'cuda' if settings.on_gpu else 'cpu'
    binding.bind_ortvalue_input('input', ort.OrtValue.ortvalue_from_numpy(image, place, 0))
    for output in session.get_outputs():
        binding.bind_output(output.name, place)
    times = []
    for _ in range(_repeats(settings) + (1 if settings.rehearse else 20)):
        start = time.perf_counter()
        session.run_with_iobinding(binding)  # returns when the outputs are there
        times.append(1e3 * (time.perf_counter() - start))
    return times[-_repeats(settings):]


def _half(path: str) -> str:
    """Return the file with the network in 16 bit and decoding in 32."""
    import onnx

    from mmyolonas.export.precision import convert_fp16
    target = path.replace('.onnx', '_fp16.onnx')
    onnx.save(convert_fp16(onnx.load(path)), target)
    return target
