"""The card and the machine around it, and what the card is doing."""
import os
import platform
import statistics
import sys
import threading
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Dict, List, Optional

PACKAGES = ('torch', 'torchvision', 'numpy', 'mmengine', 'mmcv-lite', 'mmdet', 'mmpose', 'onnx',
            'onnxruntime', 'onnxruntime-gpu', 'nvidia-modelopt', 'modern-yolonas', 'tensorrt',
            'tensorrt-rtx-cu12', 'tensorrt-rtx-cu13-bindings')


def describe(device: str) -> Dict[str, Any]:
    """Return card, driver, processor and versions; the same for the same machine."""
    import torch
    found: Dict[str, Any] = dict(
        device='CPU', processor=_processor(), cores=os.cpu_count(),
        python=platform.python_version(), system=platform.platform(), cuda=torch.version.cuda)
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    if device.startswith('cuda'):
        props = torch.cuda.get_device_properties(device)
        found.update(device=props.name, capability=f'{props.major}.{props.minor}',
                     memory_mib=props.total_memory // 2**20, cudnn=torch.backends.cudnn.version())
        found.update(_nvml_constants())
    return found


def _processor() -> str:
    try:
        with open('/proc/cpuinfo', encoding='utf-8') as file:
            return next(line.split(':', 1)[1].strip() for line in file if 'model name' in line)
    except (OSError, StopIteration):
        return platform.processor()


def _nvml():
    """Return NVML and the first card, or None without the package or a card."""
    try:
        import pynvml
        pynvml.nvmlInit()
        return pynvml, pynvml.nvmlDeviceGetHandleByIndex(0)
    except Exception:  # a missing package, library or card: noted as unknown
        return None


def _nvml_constants() -> Dict[str, Any]:
    found = _nvml()
    if found is None:
        return dict(driver='unknown: NVML cannot be read')
    nvml, card = found
    driver = nvml.nvmlSystemGetDriverVersion()
    result = dict(driver=driver.decode() if isinstance(driver, bytes) else driver)
    for name, ask in (('power_limit_w', lambda: nvml.nvmlDeviceGetEnforcedPowerLimit(card) / 1e3),
                      ('max_sm_mhz', lambda: nvml.nvmlDeviceGetMaxClockInfo(card, 1))):
        try:
            result[name] = ask()
        except nvml.NVMLError:
            continue
    return result


class CardWatch:
    """Power, clock and temperature of the card while a block runs; empty without NVML.

    Args:
        device (str): Nothing is watched unless it is a GPU.
        interval (float): Seconds between readings. Defaults to 0.2.
    """

    def __init__(self, device: str, interval: float = 0.2) -> None:
        self._nvml = _nvml() if device.startswith('cuda') else None
        self._interval = interval
        self._end = threading.Event()
        self._thread: Optional[threading.Thread] = None
        self.readings: List[Dict[str, float]] = []

    def _read(self) -> Dict[str, float]:
        nvml, card = self._nvml
        return dict(power_w=nvml.nvmlDeviceGetPowerUsage(card) / 1e3,
                    sm_mhz=nvml.nvmlDeviceGetClockInfo(card, 1),
                    temperature_c=nvml.nvmlDeviceGetTemperature(card, 0))

    def _watch(self) -> None:
        while not self._end.wait(self._interval):
            try:
                self.readings.append(self._read())
            except Exception as error:  # a reading that a card refuses ends the watch alone
                print(f'the card is no longer watched: {error}', file=sys.stderr)
                return

    def __enter__(self) -> 'CardWatch':
        if self._nvml is not None:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self._end.set()
        if self._thread is not None:
            self._thread.join()

    def summary(self) -> Dict[str, float]:
        """Return the median of each reading and how many there were."""
        if not self.readings:
            return {}
        found = {name: statistics.median(reading[name] for reading in self.readings)
                 for name in self.readings[0]}
        return dict(found, readings=len(self.readings))
