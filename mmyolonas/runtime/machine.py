"""What a machine is, as far as it decides about times."""
import datetime
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Dict


def describe_machine(target: str, num_threads: int = 1) -> Dict[str, Any]:
    """Return what decides about times on this machine.

    Args:
        target (str): Runtime; its version is empty where it is not installed.
        num_threads (int): Threads it is given.
    """
    try:
        runtime_version = version(target)
    except PackageNotFoundError:
        runtime_version = ''
    gpu = ''
    if target == 'tensorrt':
        from mmyolonas.runtime.cuda import device_identity
        gpu = ' '.join(filter(None, device_identity()))
    return dict(cpu=cpu_name(), gpu=gpu, system=platform.platform(terse=True),
                runtime_version=runtime_version, num_threads=num_threads,
                date=datetime.date.today().isoformat())


def cpu_name() -> str:
    """Return the processor's name with family and model, which some names leave out."""
    try:
        text = Path('/proc/cpuinfo').read_text(encoding='utf-8')
    except OSError:
        return platform.processor() or platform.machine()
    rows = dict(line.split(':', 1) for line in text.split('\n\n')[0].splitlines() if ':' in line)
    values = {key.strip(): value.strip() for key, value in rows.items()}
    name = values.get('model name', platform.machine())
    return f'{name} (family {values.get("cpu family", "?")}, model {values.get("model", "?")})'
