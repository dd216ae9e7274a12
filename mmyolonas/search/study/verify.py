"""Measuring chosen architectures on the target itself."""
from functools import partial
from typing import Dict

from mmyolonas.runtime.timing import Latency, measure
from mmyolonas.search.latency.operator_timing import NetworkFile, check_target, export_network
from mmyolonas.search.space.architecture import build
from mmyolonas.search.space.encoding import Genome
from mmyolonas.search.space.space import Space


def measure_models(space: Space, genomes: Dict[str, Genome], num_classes: int, target: str,
                   precision: str, num_threads: int = 1,
                   repeats: int = 50) -> Dict[str, Latency]:
    """Time exported architectures in turn, so that all see the same machine.

    Args:
        space (Space): The space.
        genomes (dict): Architectures by name.
        num_classes (int): Classes, or key points.
        target (str): ``'onnxruntime'``, ``'openvino'``, ``'tensorrt'`` or ``'tensorrt_rtx'``.
        precision (str): ``'fp32'``, ``'fp16'`` or ``'int8'``.
        num_threads (int): Threads of the runtime. Defaults to 1.
        repeats (int): Timed runs of each. Defaults to 50.

    Returns:
        dict[str, Latency]: By name.
    """
    check_target(target, [precision])
    files: Dict[str, NetworkFile] = {}
    try:
        for name, genome in genomes.items():
            model = build(space.decode(genome), num_classes)
            files[name] = NetworkFile(export_network(model, genome['input_size']), target,
                                      precision, num_threads)
        # each takes an image of the network's own size
        runs = {name: partial(file.open(), file.image) for name, file in files.items()}
        return measure(runs, repeats=repeats)
    finally:
        for file in files.values():
            file.close()
