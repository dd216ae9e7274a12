"""What is installed, what was repaired and why, what is missing.

``python -m mmyolonas.doctor`` prints it, ``--json`` for programs. The exit
status is 1 if training or prediction with mmdet cannot work here, else 0;
missing optional packages do not count.
"""
import argparse
import importlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass, field

import mmyolonas
from mmyolonas import compat

#: Said wherever mmpose or mmdeploy are missing: their metadata asks for
#: packages that no longer build (chumpy) or that clash (protobuf <= 3.20.2).
_MMPOSE = ('pip install --no-deps mmpose==1.3.2 xtcocotools && '
           'pip install json_tricks munkres')
_MMDEPLOY = ('pip install --no-deps mmdeploy==1.3.1 && '
             "pip install 'mmyolonas[deploy]'")


@dataclass
class Package:
    """One package that mmyolonas uses.

    Args:
        module: Import name.
        use: What mmyolonas does with it.
        cure: The command that installs it.
        core: Whether nothing works without it.
        version: Installed version, None where missing.
        distribution: Who provides it, for example 'mmcv-lite'.
        error: Why it cannot be used although it is installed.
    """
    module: str
    use: str
    cure: str
    core: bool = False
    version: str | None = None
    distribution: str | None = None
    error: str | None = None


@dataclass
class Report:
    """Everything the doctor found."""
    mmyolonas: str
    python: str
    platform: str
    devices: list[str]
    packages: list[Package]
    repairs: list[compat.Repair]
    problems: list[str] = field(default_factory=list)

    @property
    def healthy(self) -> bool:
        """bool: Whether training and prediction with mmdet can work."""
        return not self.problems


def _packages(onedl: bool) -> list[Package]:
    mm = "pip install 'mmyolonas[openmmlab]'"
    if onedl:
        mm = ("pip install 'mmyolonas[onedl]' && "
              'pip install --no-deps mmcv-lite==2.2.0')
    return [
        Package('torch', 'everything', "pip install 'torch>=2.1'", True),
        Package('torchvision', 'NMS, RoIAlign', 'pip install torchvision',
                True),
        Package('numpy', 'everything', "pip install 'numpy>=1.26'", True),
        Package('cv2', 'images', 'pip install opencv-python', True),
        Package('pycocotools', 'evaluation', 'pip install pycocotools', True),
        Package('mmengine', 'configs, training', mm, True),
        Package('mmcv', 'transforms, layers', mm, True),
        Package('mmdet', 'detection', mm, True),
        Package('mmpose', 'pose estimation', _MMPOSE),
        Package('onnx', 'export', "pip install 'mmyolonas[deploy]'"),
        Package('onnx_ir', 'export', "pip install 'mmyolonas[deploy]'"),
        Package('onnxruntime', 'running ONNX files',
                "pip install 'mmyolonas[deploy]'"),
        Package('mmdeploy', 'export through MMDeploy', _MMDEPLOY),
        Package('mmdeploy_runtime', "MMDeploy's SDK",
                'pip install mmdeploy-runtime'),
        Package('openvino', 'OpenVINO', 'pip install openvino'),
        Package('tensorrt', 'TensorRT engines', 'pip install tensorrt'),
        Package('tensorrt_rtx', 'engines built without a GPU',
                'pip install tensorrt-rtx-cu12'),
        Package('modelopt', 'INT8', "pip install 'mmyolonas[quant]'"),
        Package('optuna', 'architecture search',
                "pip install 'mmyolonas[search]'"),
        Package('sklearn', 'architecture search',
                "pip install 'mmyolonas[search]'"),
    ]


def _probe(package: Package, providers: dict[str, list[str]]) -> None:
    """Fill in version, provider and whether the package can be imported."""
    if not compat.has_module(package.module):
        return
    names = sorted(set(providers.get(package.module, [])))
    package.distribution = ' + '.join(names) or package.module
    package.version = '?'
    with suppress(importlib.metadata.PackageNotFoundError):
        # Python 3.10 finds names by top_level.txt only; most are named like their module
        package.version = importlib.metadata.version((names or [package.module])[0])
    try:
        if package.core or package.module in _CHECKS:
            importlib.import_module(package.module)
            _CHECKS.get(package.module, lambda: None)()
    except Exception as error:  # broken packages raise anything
        text = str(error).strip().splitlines() or ['']
        package.error = f'{type(error).__name__}: {text[0]}'
    if len(names) > 1 and package.module.startswith('mm'):
        package.error = package.error or (
            f'{" and ".join(names)} are both installed and overwrite each '
            'other; uninstall both, then install one')


def _check_mmcv() -> None:
    import torch
    from mmcv.ops import nms
    boxes = torch.tensor([[0., 0., 9., 9.], [0., 0., 9., 8.]])
    _, kept = nms(boxes, torch.tensor([.5, .9]), 0.5)
    if kept.tolist() != [1]:
        raise RuntimeError(f'mmcv.ops.nms keeps boxes {kept.tolist()}, not 1')


#: What is imported beside the core packages, and what must work there. The
#: others are only looked up: importing them is slow, and some print.
_CHECKS: dict[str, Callable[[], object]] = {
    'mmcv': _check_mmcv,
    'mmdet': lambda: importlib.import_module('mmdet.models'),
    'mmpose': lambda: importlib.import_module('mmpose.models'),
    'onnxruntime': lambda: None,
}


def _devices() -> list[str]:
    try:
        import torch
        count = torch.cuda.device_count()
        found = [torch.cuda.get_device_name(index) for index in range(count)]
    except Exception as error:  # a broken torch is reported as a package
        return [f'unknown ({error})']
    return found or [f'CPU, {os.cpu_count()} cores']


def examine() -> Report:
    """Look at this environment; imports what is installed (some seconds)."""
    providers = importlib.metadata.packages_distributions()
    onedl = any(name.startswith('onedl') for module in ('mmengine', 'mmdet')
                for name in providers.get(module, []))
    packages = _packages(onedl)
    for package in packages:
        _probe(package, providers)
    report = Report(
        mmyolonas=mmyolonas.__version__,
        python=platform.python_version(),
        platform=platform.platform(terse=True),
        devices=_devices(),
        packages=packages,
        repairs=compat.repairs())
    for package in packages:
        if package.core and package.version is None:
            report.problems.append(
                f'{package.module} is missing: {package.cure}')
        elif package.core and package.error:
            report.problems.append(
                f'{package.module} is broken ({package.error}): '
                f'{package.cure}')
    return report


class _Painter:
    """ANSI colours for people at a terminal, plain text for files."""

    def __init__(self, enabled: bool):
        self._enabled = enabled

    def __call__(self, colour: int, text: str) -> str:
        return f'\033[{colour}m{text}\033[0m' if self._enabled else text


_RED, _GREEN, _YELLOW, _BOLD = 31, 32, 33, 1


def render(report: Report, colour: bool = False) -> str:
    """The report as text for people."""
    paint = _Painter(colour)
    lines = [
        paint(_BOLD, f'mmyolonas {report.mmyolonas}') +
        f' on Python {report.python}, {report.platform}',
        f'  devices: {", ".join(report.devices)}', '',
        paint(_BOLD, 'Installed')
    ]
    missing = []
    for package in report.packages:
        if package.version is None:
            missing.append(package)
            continue
        good = package.error is None
        name = f'{package.distribution} {package.version}'
        lines.append(f'  {paint(_GREEN, "ok") if good else paint(_RED, "!!")}'
                     f'  {name:<34} {package.use}')
        if not good:
            lines.append(f'      {package.error}')
            lines.append(f'      cure: {package.cure}')
    lines += ['', paint(_BOLD, 'Repairs')]
    tint = {'applied': _GREEN, 'failed': _RED}
    for repair in report.repairs:
        lines.append(
            '  ' + paint(tint.get(repair.status, 0), f'{repair.status:<10}') +
            f'  {repair.name}  (for {repair.versions})')
        if repair.why:
            lines.append(f'              {repair.why}')
    if missing:
        lines += ['', paint(_BOLD, 'Missing')]
    for package in missing:
        tone = paint(_RED if package.core else _YELLOW, '--')
        lines.append(f'  {tone}  {package.module:<18} {package.use}')
        lines.append(f'      {package.cure}')
    lines.append('')
    if report.healthy:
        lines.append(paint(_GREEN, 'Ready: detection can be trained here.'))
    else:
        lines.append(paint(_RED, 'Detection cannot work here yet:'))
        lines += [f'  {problem}' for problem in report.problems]
    return '\n'.join(lines)


def main(argv: list[str] | None = None) -> int:
    """Print the report; 0 if the core works, else 1."""
    parser = argparse.ArgumentParser(
        prog='python -m mmyolonas.doctor', description=__doc__)
    parser.add_argument(
        '--json', action='store_true', help='print JSON instead of text')
    args = parser.parse_args(argv)
    report = examine()
    if args.json:
        print(json.dumps({**asdict(report), 'healthy': report.healthy}))
    else:
        colour = sys.stdout.isatty() and 'NO_COLOR' not in os.environ
        print(render(report, colour))
    return 0 if report.healthy else 1


if __name__ == '__main__':
    sys.exit(main())
