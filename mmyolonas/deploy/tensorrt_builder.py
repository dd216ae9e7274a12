"""Engines from ONNX files, with TensorRT 8.6, 10, 11 and TensorRT-RTX."""
import hashlib
import json
import os
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Dict, List, Optional, Sequence

from mmyolonas.export.precision import convert_fp16, count_quantizers, float_nodes
from mmyolonas.runtime.tensorrt_api import TensorRTApi
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import write_bytes, write_json
from mmyolonas.utils.optional import require

PRECISIONS = ('fp32', 'fp16', 'int8', 'int8_fp16')


@dataclass
class EngineOptions:
    """What an engine is built for.

    Args:
        precision (str): ``'fp32'``; ``'fp16'`` (the network in 16 bit,
            decoding and NMS in 32); ``'int8'`` (takes a file with Q/DQ nodes,
            what they leave is 32 bit); ``'int8_fp16'`` (the rest 16 bit).
        min_shape (list[int], optional): Smallest input (batch, channels,
            height, width); needed for a file with free sides.
        opt_shape (list[int], optional): Shape to tune for.
        max_shape (list[int], optional): Largest input.
        workspace (int, optional): Scratch memory in bytes.
        capability (str, optional): GPU generation, RTX only, as ``'sm89'``.
        detailed (bool): Keep the layers' names for the report. Defaults to
            True.
    """
    precision: str = 'fp32'
    min_shape: Optional[List[int]] = None
    opt_shape: Optional[List[int]] = None
    max_shape: Optional[List[int]] = None
    workspace: Optional[int] = None
    capability: Optional[str] = None
    detailed: bool = True

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(
                f'precision must be one of {", ".join(PRECISIONS)}, got {self.precision!r}.')


@dataclass
class EngineInfo:
    """A built engine.

    Args:
        path (str): Engine; its description is in ``<path>.json``.
        backend (str): Package it was built with.
        version (str): Version of that package.
        precision (str): Asked-for precision.
        size (int): Bytes.
        seconds (float): Time of the build; 0 if it was found in the cache.
        cached (bool): Whether it was found in the cache.
        num_layers (int): Layers of the parsed network.
        layers (list): The engine's layers, if a GPU was there to ask.
    """
    path: str
    backend: str
    version: str
    precision: str
    size: int
    seconds: float
    cached: bool
    num_layers: int
    layers: List[Any] = field(default_factory=list)


def build_engine(onnx_path: str,
                 engine_path: Optional[str] = None,
                 backend: str = 'tensorrt',
                 options: Optional[EngineOptions] = None,
                 use_cache: bool = True,
                 api: Optional[TensorRTApi] = None) -> EngineInfo:
    """Build a TensorRT engine from an ONNX file.

    TensorRT-RTX builds without a GPU, TensorRT does not. An engine of the same
    name that was built from the same content with the same options, version
    and GPU is kept.

    Args:
        onnx_path (str): ONNX file.
        engine_path (str, optional): Engine to write; beside the ONNX file if
            None.
        backend (str): ``'tensorrt'`` or ``'tensorrt_rtx'``.
        options (EngineOptions, optional): Precision and shapes.
        use_cache (bool): Whether to keep an engine of equal content.
        api (TensorRTApi, optional): The package, for tests.

    Returns:
        EngineInfo: The engine.

    Raises:
        FileNotFoundError: No such ONNX file.
        ImportError: A package is missing.
        RuntimeError: TensorRT refuses the file; the message has its reason.
        ValueError: Options and file do not go together.
    """
    options = options or EngineOptions()
    onnx = require('onnx', 'Building an engine')
    if not os.path.isfile(onnx_path):
        raise FileNotFoundError(f'no such ONNX file: {onnx_path}')
    api = api or TensorRTApi(backend)
    engine_path = engine_path or f'{os.path.splitext(onnx_path)[0]}.engine'
    key = _content_key(onnx_path, options, api)
    found = _find_cached(engine_path, key) if use_cache else None
    if found is not None:
        return found
    model = onnx.load(onnx_path)
    props = {prop.key: prop.value for prop in model.metadata_props}
    start = time.perf_counter()
    plan, num_layers = _build(_with_precision(model, options.precision, api), options, api)
    info = EngineInfo(engine_path, api.flavour, api.version, options.precision, len(plan),
                      time.perf_counter() - start, False, num_layers)
    write_bytes(engine_path, plan)
    build = {**asdict(info), 'key': key, 'options': asdict(options)}
    write_json(f'{engine_path}.json', {**props, 'build': json.dumps(build)})
    info.layers = layer_report(api, plan)
    return info


def _with_precision(model: Any, precision: str, api: TensorRTApi) -> Any:
    """Return the graph in the wanted precision; see :class:`EngineOptions`."""
    quantizers = count_quantizers(model)
    if precision.startswith('int8') and not quantizers:
        raise ValueError(
            'precision int8 takes a quantised ONNX file (with QuantizeLinear and '
            'DequantizeLinear nodes), and this one has none; quantise it first with '
            'tools/quantize.py, or build with precision="fp16".')
    if quantizers and not precision.startswith('int8'):
        raise ValueError(
            f'the ONNX file has {quantizers} QuantizeLinear nodes, so precision {precision} does '
            'not describe it; use precision="int8" or "int8_fp16".')
    if precision.endswith('fp16') and api.strongly_typed:
        return convert_fp16(model)
    return model  # 8.6 takes flags instead


def _build(model: Any, options: EngineOptions, api: TensorRTApi) -> tuple:
    """Parse and build; return the serialised engine and the number of layers."""
    trt = api.trt
    needs_plugin = any(node.op_type == 'EfficientNMS_TRT' for node in model.graph.node)
    if needs_plugin and (api.flavour == 'tensorrt_rtx' or not api.load_plugins()):
        raise UserError(
            f'{api.flavour} {api.version} has no EfficientNMS plugin; export with '
            'nms="none" (or "onnx" for tensorrt).')
    builder = trt.Builder(api.logger)
    network = api.create_network(builder)
    parser = trt.OnnxParser(network, api.logger)
    if not parser.parse(model.SerializeToString()):
        errors = [parser.get_error(i).desc() for i in range(min(parser.num_errors, 3))]
        raise UserError(
            f'{api.flavour} {api.version} cannot read the ONNX file: {"; ".join(errors)}')
    config = builder.create_builder_config()
    api.limit_workspace(config, options.workspace)
    api.target_capability(config, options.capability)
    if not api.strongly_typed:
        api.set_precision(network, config, options.precision, float_nodes(model))
    if options.detailed:
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
    _add_profile(builder, network, config, options)
    plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise UserError(f'{api.flavour} {api.version} cannot build an engine: '
                           f'{_explain(model, api)}')
    return bytes(plan), network.num_layers


def _explain(model: Any, api: TensorRTApi) -> str:
    reason = api.last_error()
    if api.flavour == 'tensorrt_rtx' and any(
            node.op_type == 'NonMaxSuppression' for node in model.graph.node):
        return ('TensorRT-RTX has no kernel for NonMaxSuppression; export with nms="none" and '
                f'let the runtime suppress. ({reason})')
    return reason


def _add_profile(builder: Any, network: Any, config: Any, options: EngineOptions) -> None:
    """Give free sides their range."""
    profile, needed = builder.create_optimization_profile(), False
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        shape = tuple(tensor.shape)
        shapes = [options.min_shape, options.opt_shape, options.max_shape]
        if all(side >= 0 for side in shape):
            for given in shapes:
                if given is not None and tuple(given) != shape:
                    raise ValueError(
                        f'the ONNX file has the fixed input shape {shape}, but the profile asks '
                        f'for {tuple(given)}; export with a dynamic batch or shape.')
            continue
        if any(given is None for given in shapes):
            raise ValueError(
                f'input {tensor.name!r} has free sides {shape}; give min_shape, opt_shape and '
                'max_shape, for example (1, 3, 640, 640), (1, 3, 640, 640), (8, 3, 640, 640).')
        for given in shapes:
            _check_shape(tensor.name, shape, given)
        profile.set_shape(tensor.name, *map(tuple, shapes))
        needed = True
    if needed and config.add_optimization_profile(profile) < 0:
        raise ValueError(f'the profile {shapes} was refused; it needs min <= opt <= max.')


def _check_shape(name: str, shape: Sequence[int], given: Sequence[int]) -> None:
    if len(given) != len(shape) or any(
            side >= 0 and side != value for side, value in zip(shape, given)):
        raise ValueError(f"the profile's shape {tuple(given)} does not fit input {name!r} of "
                         f'shape {tuple(shape)} (-1 is free).')


def _content_key(onnx_path: str, options: EngineOptions, api: TensorRTApi) -> str:
    """Return a hash of everything the engine depends on."""
    from mmyolonas.version import __version__
    digest = hashlib.sha256()
    with open(onnx_path, 'rb') as file:
        for block in iter(lambda: file.read(1 << 20), b''):
            digest.update(block)
    identity = [asdict(options), api.flavour, api.version, api.device_name(), __version__]
    digest.update(json.dumps(identity, sort_keys=True).encode())
    return digest.hexdigest()


def _find_cached(engine_path: str, key: str) -> Optional[EngineInfo]:
    """Return the engine at ``engine_path`` if it is the one wanted."""
    try:
        with open(f'{engine_path}.json', encoding='utf-8') as file:
            build: Dict[str, Any] = json.loads(json.load(file)['build'])
        if build['key'] != key or os.path.getsize(engine_path) != build['size']:
            return None
        return EngineInfo(engine_path, build['backend'], build['version'], build['precision'],
                          build['size'], 0.0, True, build['num_layers'])
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        return None


def layer_report(api: TensorRTApi, plan: bytes) -> List[Any]:
    """Return the engine's layers (name, precision, shapes), or [] without a GPU."""
    if not api.device_name()[1]:
        return []
    trt = api.trt
    engine = trt.Runtime(api.logger).deserialize_cuda_engine(plan)
    if engine is None:
        return []
    inspector = engine.create_engine_inspector()
    text = inspector.get_engine_information(trt.LayerInformationFormat.JSON)
    return json.loads(text).get('Layers', [])
