"""Stage 5: engines of TensorRT or TensorRT-RTX, whichever starts here."""
import os
import time
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Dict, List, Optional

import numpy as np

from benchmarks.gpu.items import Item, Settings, Skip
from benchmarks.gpu.latency import PUBLISHED_T4, export, timed
from benchmarks.gpu.models import MODELS

FLAVOURS = ('tensorrt', 'tensorrt_rtx')
#: Distributions that bring them; what each came to is part of the answer.
PACKAGES = ('tensorrt', 'tensorrt-cu12', 'tensorrt-cu13', 'tensorrt-cu13-bindings',
            'tensorrt-cu13-libs', 'tensorrt-rtx-cu12', 'tensorrt-rtx-cu12-libs',
            'tensorrt-rtx-cu13-bindings', 'tensorrt-rtx-cu13-libs')


def items(settings: Settings) -> List[Item]:
    """Return what was tried first, then engines by worth."""
    found = [Item('tried', 20)]
    models = ('s', ) if settings.rehearse else MODELS
    for precision in ('fp16', 'int8', 'selective'):
        found += [Item(f'{precision}/{name}', 60) for name in models]
    return [*found, Item('nms/s', 60), Item('layers/s', 60)]


def run(key: str, settings: Settings) -> Dict[str, Any]:
    """Do an item."""
    attempts = try_flavours(settings)
    if key == 'tried':
        return attempts
    flavour = next((name for name in FLAVOURS if attempts[name] == 'starts'), None)
    if flavour is None:
        raise Skip('; '.join(f'{name}: {attempts[name]}' for name in FLAVOURS))
    kind, name = key.split('/')
    if kind == 'nms':
        return _suppression(flavour, settings)
    return _engine(flavour, kind, name, settings)


def try_flavours(settings: Settings) -> Dict[str, Any]:
    """Return what each package said: that it starts, or its own words."""
    found: Dict[str, Any] = {}
    for name in PACKAGES:
        try:
            found[f'package {name}'] = version(name)
        except PackageNotFoundError:
            found[f'package {name}'] = 'not installed'
    for flavour in FLAVOURS:
        found[flavour] = _try(flavour, settings)
    return found


def _try(flavour: str, settings: Settings) -> str:
    from mmyolonas.runtime.tensorrt_api import TensorRTApi
    try:
        trt = TensorRTApi(flavour)
        builder = trt.trt.Builder(trt.logger)
    except Exception as error:  # the answer of the stage, whatever it is
        return f'{type(error).__name__}: {error}'[:500]
    if builder is None:
        return f'no builder: {trt.last_error()}'
    if not settings.on_gpu and flavour == 'tensorrt':
        return 'needs a GPU'
    return 'starts'


def _file(flavour: str, kind: str, name: str, settings: Settings) -> str:
    """Return the ONNX file of a kind: float, or 8 bit in full or for all but the first half."""
    path = export(name, 1, settings)
    if kind in ('fp16', 'layers'):
        return path
    import onnx

    from mmyolonas.quantization.choice.variants import Variants
    from mmyolonas.search.latency.operator_timing import made_up_ranges
    target = path.replace('.onnx', f'_{kind}.onnx')
    if not os.path.exists(target):
        model = onnx.load(path)
        variants = Variants(model, made_up_ranges(model), flavour, 1)
        chosen = list(variants.candidates)
        if kind == 'selective':  # a plan's shape; which half it is matters to time, not here
            chosen = chosen[len(chosen) // 2:]
        onnx.save(variants.make(chosen), target)
    return target


def _engine(flavour: str, kind: str, name: str, settings: Settings) -> Dict[str, Any]:
    """Build an engine and time it; of ``'layers'`` each layer too."""
    from mmyolonas.deploy.tensorrt_builder import EngineOptions, build_engine
    path = _file(flavour, kind, name, settings)
    precision = 'fp16' if kind in ('fp16', 'layers') else 'int8_fp16'
    start = time.perf_counter()
    info = build_engine(path, path.replace('.onnx', f'_{flavour}_{kind}.engine'), flavour,
                        EngineOptions(precision), use_cache=False)
    found: Dict[str, Any] = dict(
        flavour=flavour, version=info.version, build_seconds=time.perf_counter() - start,
        mib=info.size / 2**20, published_t4_ms=PUBLISHED_T4[name])
    if not settings.on_gpu:
        return dict(found, note='built without a GPU; not run')
    found.update(_times(info.path, flavour, settings, kind == 'layers'))
    return found


def _times(path: str, flavour: str, settings: Settings, layers: bool) -> Dict[str, Any]:
    """Return the times of an engine, copies to and from the GPU included."""
    from mmyolonas.runtime.tensorrt_session import TensorRTSession
    image = np.random.default_rng(0).random((1, 3, settings.size, settings.size), np.float32)
    with TensorRTSession(path, flavour) as session:
        found: Dict[str, Any] = dict(with_copies=timed(
            lambda: session.run({'input': image}), 1, settings, 'cpu'))
        each = session.layer_times({'input': image}, 20)
        found['layers_ms'] = sum(ms for _, ms in each)
        if layers:
            found['layers'] = [[name[:120], ms] for name, ms in each]
    return found


def _suppression(flavour: str, settings: Settings) -> Dict[str, Any]:
    """Return what becomes of each form of suppression."""
    from mmyolonas.deploy.tensorrt_builder import EngineOptions, build_engine
    found: Dict[str, Any] = dict(flavour=flavour)
    for nms in ('onnx', 'efficient_nms', 'none'):
        path = export('s', 1, settings, nms)
        try:
            info = build_engine(path, path.replace('.onnx', f'_{flavour}.engine'), flavour,
                                EngineOptions('fp16'), use_cache=False)
        except RuntimeError as error:
            found[nms] = f'refused: {error}'[:300]
            continue
        found[nms] = _run_or_note(info, flavour, settings)
    return found


def _run_or_note(info: Any, flavour: str, settings: Settings) -> Any:
    if not settings.on_gpu:
        return 'built without a GPU; not run'
    found: Optional[dict] = _times(info.path, flavour, settings, False)
    return found['with_copies']
