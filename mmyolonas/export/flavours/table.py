"""All ends of an exported file in one table: names, shapes, properties, readers.

B: batch, H, W: sides of the input, L: priors, C: classes, K: key points, N: rows per image
(``max_detections``), R: ``reg_max``, s: stride. Coordinates are pixels of the network's input.
"""
import re
from dataclasses import dataclass, field
from typing import Dict, List, Sequence, Tuple

#: Name and shape of each output.
Outputs = Tuple[Tuple[str, str], ...]

RGB_UNIT, NORMALISED, RAW = 'RGB within 0..1', 'normalised', 'BGR uint8'


@dataclass(frozen=True)
class Flavour:
    """One end of the graph.

    Args:
        name (str): Value of ``nms_type`` in a deploy config and of ``nms=``.
        outputs (dict[str, Outputs]): Names and shapes by task; a name with ``{s}`` stands
            for one output of each stride.
        readers (str): What reads such files.
        suppressed (bool): Whether suppression is in the file.
        input_name (str): Name of the input.
        pixels (str): What the input takes; ``NORMALISED``: what the description says.
        batch_axes (dict[int, str]): Axes of an output that are free with a free batch.
        shape_axes (dict[int, str]): Further axes that are free with free sides.
        tolerance (float, optional): Allowed difference from PyTorch of outputs that hold
            pixels and scores.
    """
    name: str
    outputs: Dict[str, Outputs]
    readers: str
    suppressed: bool = False
    input_name: str = 'input'
    pixels: str = NORMALISED
    batch_axes: Dict[int, str] = field(default_factory=lambda: {0: 'batch'})
    shape_axes: Dict[int, str] = field(default_factory=lambda: {1: 'rows'})
    tolerance: float = 1e-3


FLAVOURS: Dict[str, Flavour] = {item.name: item for item in (
    Flavour('onnx', dict(
        detection=(('dets', '(B, N, 5): x1, y1, x2, y2, score'), ('labels', '(B, N)')),
        pose=(('dets', '(B, N, 5)'), ('keypoints', '(B, N, K, 3): x, y, score'))),
        "Runtime, mmdeploy's API and SDK", suppressed=True),
    Flavour('efficient_nms', dict(
        detection=(('num_dets', '(B, 1)'), ('boxes', '(B, N, 4): x1, y1, x2, y2'),
                   ('scores', '(B, N)'), ('labels', '(B, N)'))),
        "TensorRT's plugin; DeepStream and Triton examples for it", suppressed=True,
        shape_axes={}),
    Flavour('none', dict(
        detection=(('boxes', '(B, L, 4): x1, y1, x2, y2'), ('scores', '(B, L, C)')),
        pose=(('boxes', '(B, L, 4)'), ('scores', '(B, L, 1)'), ('keypoints', '(B, L, K, 2)'),
              ('keypoint_scores', '(B, L, K)'))),
        'Runtime, OpenCV, ncnn, MNN, TFLite and what suppresses itself'),
    Flavour('flat', dict(
        detection=(('flat_predictions',
                    '(B N, 7): image, x1, y1, x2, y2, score, class; class -1 beyond the last'), ),
        pose=(('flat_predictions',
               '(B N, 6 + 3 K): image, x1, y1, x2, y2, score, K times x, y, score; score 0 '
               'beyond the last'), )),
        "Frigate (model_type: yolonas), readers of SuperGradients' flat format",
        suppressed=True, pixels=RAW, batch_axes={0: 'rows'}, shape_axes={}),
    Flavour('deepstream', dict(
        detection=(('output', '(B, L, 6): x1, y1, x2, y2, best score, its class'), )),
        'DeepStream-Yolo (NvDsInferParseYolo, cluster-mode 2)', tolerance=0.05),
    Flavour('ultralytics', dict(
        detection=(('output0', '(B, 4 + C, L): cx, cy, w, h, scores'), ),
        pose=(('output0', '(B, 5 + 3 K, L): cx, cy, w, h, score, K times x, y, score'), )),
        "Ultralytics' loaders and what was written after them", input_name='images',
        pixels=RGB_UNIT, shape_axes={2: 'rows'}, tolerance=0.05),
    Flavour('maps', dict(
        detection=(('reg_{s}', '(B, 4 (R + 1), H / s, W / s): logits of the distances'),
                   ('cls_{s}', '(B, C, H / s, W / s): logits of the classes')),
        pose=(('reg_{s}', '(B, 4 (R + 1), H / s, W / s)'), ('cls_{s}', '(B, 1, H / s, W / s)'),
              ('offset_{s}', '(B, 2 K, H / s, W / s): from the corner of the cell, in strides'),
              ('point_{s}', '(B, K, H / s, W / s): logits of the key points'))),
        'NPU converters (RKNN and others), whose 8 bit ruins decoding; Runtime decodes',
        shape_axes={2: 'rows', 3: 'columns'}, tolerance=0.02),
)}


def flavour_of(name: str, task: str = 'detection') -> Flavour:
    """Return a flavour of a task.

    Args:
        name (str): Its name.
        task (str): ``'detection'`` or ``'pose'``.

    Returns:
        Flavour: The row of the table.

    Raises:
        ValueError: There is none of that name, or not for that task.
    """
    if name not in FLAVOURS:
        raise ValueError(f'nms must be one of {", ".join(FLAVOURS)}, got {name!r}.')
    flavour = FLAVOURS[name]
    if task not in flavour.outputs:
        known = [item.name for item in FLAVOURS.values() if task in item.outputs]
        raise ValueError(f'nms={name!r} has no form for {task} (there is no place for key points '
                         f'in it); take one of {", ".join(known)}.')
    return flavour


def output_names(name: str, task: str, strides: Sequence[int] = (8, 16, 32)) -> List[str]:
    """Return the names of a flavour's outputs, in order.

    Args:
        name (str): Flavour.
        task (str): ``'detection'`` or ``'pose'``.
        strides (Sequence[int]): Of the model's levels. Defaults to (8, 16, 32).

    Returns:
        list[str]: Names; level by level for the maps.

    Raises:
        ValueError: There is no such flavour for the task.
    """
    outputs = flavour_of(name, task).outputs[task]
    if not any('{s}' in text for text, _ in outputs):
        return [text for text, _ in outputs]
    return [text.format(s=stride) for stride in strides for text, _ in outputs]


def output_sides(name: str, task: str, strides: Sequence[int] = (8, 16, 32)) -> Dict[str, int]:
    """Return the number of sides of each of a flavour's outputs, by its name.

    Args:
        name (str): The flavour's name.
        task (str): ``'detection'`` or ``'pose'``.
        strides (Sequence[int]): The model's strides. Defaults to (8, 16, 32).
    """
    found = {}
    for pattern, shape in flavour_of(name, task).outputs[task]:
        first = re.sub(r'(?<=\w) \(.*?\)', '', shape)  # products within a side
        sides = first[:first.index(')')].count(',') + 1
        for output in (pattern.format(s=s) for s in strides):
            found[output] = sides
    return found
