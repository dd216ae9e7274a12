"""The differences between TensorRT 8.6, 10, 11 and TensorRT-RTX, in one place."""
import importlib
from importlib.util import find_spec
from typing import Any, Optional, Sequence, Tuple

from mmyolonas.utils.optional import require

FLAVOURS = ('tensorrt', 'tensorrt_rtx')


def _import(flavour: str) -> Any:
    """Return the package, or its bindings: for CUDA 13 PyPI has no wheel that re-exports them."""
    if find_spec(flavour) is None and find_spec(f'{flavour}_bindings') is not None:
        return importlib.import_module(f'{flavour}_bindings')
    return require(flavour, 'Building or running a TensorRT engine')


class TensorRTApi:
    """One TensorRT package, asked by feature and not by version.

    TensorRT 10 builds strongly typed networks on request, 11 and RTX build
    nothing else, and 8.6 knows precision flags only.

    Args:
        flavour (str): ``'tensorrt'`` or ``'tensorrt_rtx'``.
        module (module, optional): The package, for tests.

    Raises:
        ImportError: The package is not installed.
        ValueError: Unknown flavour.
    """

    def __init__(self, flavour: str = 'tensorrt', module: Optional[Any] = None) -> None:
        if flavour not in FLAVOURS:
            raise ValueError(f'backend must be one of {", ".join(FLAVOURS)}, got {flavour!r}.')
        self.flavour = flavour
        self.trt = module or _import(flavour)
        self.messages: list = []
        self.logger = self._make_logger()

    def _make_logger(self) -> Any:
        """Return a logger that keeps warnings and errors for our own messages."""
        trt, messages = self.trt, self.messages

        base: Any = trt.ILogger

        class _Logger(base):

            def __init__(self) -> None:
                base.__init__(self)

            def log(self, severity, message) -> None:
                if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                    messages.append(message)

        return _Logger()

    @property
    def version(self) -> str:
        """str: Version of the package."""
        return self.trt.__version__

    @property
    def strongly_typed(self) -> bool:
        """bool: Whether precision is what the file says and nothing else."""
        flags = self.trt.NetworkDefinitionCreationFlag
        return hasattr(flags, 'STRONGLY_TYPED') or not hasattr(self.trt.BuilderFlag, 'FP16')

    def create_network(self, builder: Any) -> Any:
        """Return an empty network in the package's own mode."""
        flags = self.trt.NetworkDefinitionCreationFlag
        if hasattr(flags, 'STRONGLY_TYPED'):
            return builder.create_network(1 << int(flags.STRONGLY_TYPED))
        if self.strongly_typed:
            return builder.create_network(0)
        return builder.create_network(1 << int(flags.EXPLICIT_BATCH))

    def set_precision(self, network: Any, config: Any, precision: str,
                      float_layers: Sequence[str]) -> None:
        """Set the flags of a weakly typed package (8.6).

        The layers that belong in 32 bit (decoding, suppression) are pinned,
        since a weakly typed builder may otherwise take 16 bit anywhere.

        Args:
            network: Parsed network.
            config: Builder configuration.
            precision (str): See :class:`EngineOptions`.
            float_layers (Sequence[str]): Names of the layers to pin.
        """
        trt, pinned = self.trt, set(float_layers)
        if precision.endswith('fp16'):
            config.set_flag(trt.BuilderFlag.FP16)
            config.set_flag(trt.BuilderFlag.OBEY_PRECISION_CONSTRAINTS)
            for index in range(network.num_layers):
                layer = network.get_layer(index)
                if layer.name in pinned and layer.num_outputs and (
                        layer.get_output(0).dtype == trt.float32):
                    layer.precision = trt.float32
        if precision.startswith('int8'):
            config.set_flag(trt.BuilderFlag.INT8)

    def target_capability(self, config: Any, capability: Optional[str]) -> None:
        """Set the GPU generation to build for (RTX only).

        Args:
            config: Builder configuration.
            capability (str, optional): For example ``'sm89'``; None for the
                present GPU, or a portable engine where there is none.

        Raises:
            ValueError: Unknown generation, or a package without the choice.
        """
        if capability is None:
            return
        known = getattr(self.trt, 'ComputeCapability', None)
        name = capability.upper()
        if known is None or not hasattr(known, name):
            names = [] if known is None else [n.lower() for n in dir(known) if n[:2] == 'SM']
            raise ValueError(
                f'{self.flavour} {self.version} cannot build for {capability!r}; '
                f'{"known: " + ", ".join(names) if names else "it builds for the present GPU"}.')
        config.num_compute_capabilities = 1
        config.set_compute_capability(getattr(known, name), 0)

    def limit_workspace(self, config: Any, size: Optional[int]) -> None:
        """Limit the builder's scratch memory in bytes."""
        if size:
            config.set_memory_pool_limit(self.trt.MemoryPoolType.WORKSPACE, size)

    def load_plugins(self) -> bool:
        """Register TensorRT's own plugins (EfficientNMS); True on success."""
        register = getattr(self.trt, 'init_libnvinfer_plugins', None)
        return bool(register is not None and register(self.logger, ''))

    def device_name(self) -> Tuple[str, str]:
        """Return name and capability of the present GPU, or two empty strings."""
        from mmyolonas.runtime.cuda import device_identity
        return device_identity()

    def last_error(self) -> str:
        """Return the collected errors in one line."""
        return '; '.join(self.messages[-3:]) or 'no reason given'
