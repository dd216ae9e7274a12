"""The targets in one table."""
from dataclasses import dataclass
from typing import Dict


@dataclass(frozen=True)
class Target:
    """A runtime that a maintained converter serves.

    Args:
        name (str): ``backend_config.type``, and the module of its recipe.
        source (str): What the converter reads: ``'onnx'``, or ``'program'`` for a
            ``torch.export`` program.
        suffix (str): Of what the runtime loads, added to the ONNX file's stem.
        runner (str): What runs the file on this machine: ``'session'`` (see
            :func:`mmyolonas.runtime.open_session`), ``'converter'`` (a simulator in the
            converter itself) or ``''`` (nothing does).
        elsewhere (str): Where it runs if not here.
        flavours (tuple[str, ...]): ``nms_type`` that it takes.
    """
    name: str
    source: str
    suffix: str
    runner: str = 'session'
    elsewhere: str = ''
    flavours: tuple = ('none', 'deepstream', 'ultralytics', 'maps')


TARGETS: Dict[str, Target] = {item.name: item for item in (
    Target('ncnn', 'onnx', '.ncnn.param'),
    Target('mnn', 'onnx', '.mnn'),
    Target('tflite', 'onnx', '.tflite'),
    Target('opencv', 'onnx', '.onnx'),
    Target('executorch', 'program', '.pte'),
    Target('coreml', 'program', '.mlpackage', runner='', elsewhere='on macOS and iOS'),
    Target('rknn', 'onnx', '.rknn', runner='converter', flavours=('maps', 'none')),
)}
