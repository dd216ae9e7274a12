"""Stage 4: latency of the networks, fused, to decoded boxes of every prior."""
import statistics
import time
from typing import Any, Callable, Dict, List

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
#: At least so many runs, and for so long: a card tells its power as the mean of about a second.
RUNS, SECONDS, WARMUP = 200, 3., 20


def items(settings: Settings) -> List[Item]:
    """Return an item for each runtime and model."""
    models = MODELS if not settings.rehearse else ('s', ) if settings.quick else ('s', 'pose_n')
    seconds = dict(torch=25, onnxruntime=50, compiled=150)
    return [Item(f'{runtime}/{name}', seconds[runtime]) for runtime in RUNTIMES
            for name in models]


def run(key: str, settings: Settings) -> Dict[str, Any]:
    """Do an item."""
    runtime, name = key.split('/')
    found: Dict[str, Any] = dict(
        published_t4_ms=PUBLISHED_T4[name], size=settings.size,
        # what fp32 means on a GPU: the default of PyTorch and of ONNX Runtime
        tf32=settings.on_gpu and torch.backends.cudnn.allow_tf32)
    for precision in ('fp32', 'fp16') if settings.on_gpu else ('fp32', ):
        for batch in BATCHES if not settings.rehearse else (1, 2):
            if runtime == 'onnxruntime':  # its runs return when the outputs are there
                call, clock = _onnxruntime(name, precision, batch, settings), 'cpu'
            else:
                call = _torch(name, precision, batch, settings, runtime == 'compiled')
                clock = settings.device
            with torch.no_grad():
                found[f'{precision} batch {batch}'] = timed(call, batch, settings, clock)
    return found


def timed(call: Callable[[], Any], batch: int, settings: Settings, clock: str) -> Dict[str, float]:
    """Return the times of a call, and power and clock of the card during them alone.

    Args:
        call (Callable): Computes a batch.
        batch (int): Images of it.
        settings (Settings): Of the program.
        clock (str): ``'cpu'`` for a call that returns when it is done, else the device, by whose
            own events it is timed.
    """
    runs, seconds = (3, 0.) if settings.rehearse else (RUNS, SECONDS)
    milliseconds(call, clock, 1, 1 if settings.rehearse else WARMUP)
    times: List[float] = []
    with CardWatch(settings.device) as watch:
        start = time.perf_counter()
        while len(times) < runs or time.perf_counter() - start < seconds:
            times += milliseconds(call, clock, min(runs, 50), 0)
    return dict(summary(times, batch), **watch.summary())


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


def _torch(name: str, precision: str, batch: int, settings: Settings,
           compiled: bool) -> Callable[[], Any]:
    """Return what computes the network, as one graph by Inductor where it is compiled."""
    model = Decoded(name).to(settings.device)
    dtype = torch.float16 if precision == 'fp16' else torch.float32
    model = model.to(dtype=dtype, memory_format=torch.channels_last)
    images = torch.rand(batch, 3, settings.size, settings.size, dtype=dtype,
                        device=settings.device).to(memory_format=torch.channels_last)
    if not compiled:
        return lambda: model(images)
    # without this the ninth network of a process is silently run as it is; nor may one batch
    # size be compiled for the sake of another
    torch._dynamo.reset()
    how = dict(backend='eager') if settings.rehearse else dict(mode='reduce-overhead')
    call = torch.compile(model, fullgraph=True, dynamic=False, **how)
    return lambda: call(images)


def export(name: str, batch: int, settings: Settings, nms: str = 'none') -> str:
    """Return the path of an ONNX file of a model; it is exported if it is not there."""
    path = settings.folder('onnx') / f'{name}_{settings.size}_b{batch}_{nms}.onnx'
    if not path.exists():
        from mmyolonas.export.export import export_onnx
        export_onnx(build(name).eval(), str(path), (batch, 3, settings.size, settings.size),
                    nms=nms, verify=False)
    return str(path)


def _onnxruntime(name: str, precision: str, batch: int,
                 settings: Settings) -> Callable[[], Any]:
    """Return a run of ONNX Runtime; on a GPU input and output stay there."""
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
    return lambda: session.run_with_iobinding(binding)


def _half(path: str) -> str:
    """Return the file with the network in 16 bit and decoding in 32."""
    import onnx

    from mmyolonas.export.precision import convert_fp16
    target = path.replace('.onnx', '_fp16.onnx')
    onnx.save(convert_fp16(onnx.load(path)), target)
    return target
