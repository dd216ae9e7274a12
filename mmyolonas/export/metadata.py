"""What a consumer of an exported model has to know, carried inside the file.

Needs numpy only: the runtime reads it on devices without torch.
"""
import json
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Dict, List, Mapping, Optional, Sequence

from mmyolonas.export.flavours.table import flavour_of
from mmyolonas.utils.typed import build

FORMAT = 'mmyolonas/1'
#: ``task`` under a name that clashes with no other loader's.
PREFIXED_TASK = 'mmyolonas_task'
TASKS = ('detection', 'pose')
PAD_POSITIONS = ('center', 'bottom_right', 'none')


@dataclass
class Preprocess:
    """From an image to the network's input.

    The image is resized so that it fits into ``resize_size`` (keeping its
    aspect ratio, sides rounded as ``int(side * ratio + 0.5)``), padded with
    ``pad_value`` to ``pad_size`` or, if that is None, to multiples of
    ``pad_divisor``, its channels are put into ``channel_order``, and each
    value ``v`` becomes ``(v - mean) / std``.

    Args:
        resize_size (list[int], optional): (width, height) the image is fitted
            into; None leaves the image as it is.
        keep_ratio (bool): Whether the aspect ratio is kept. Defaults to True.
        pad_size (list[int], optional): (width, height) after padding.
        pad_position (str): ``'center'`` (the odd pixel goes to the right and
            the bottom), ``'bottom_right'`` or ``'none'``.
        pad_value (list[float]): Value per channel, before normalisation.
        pad_divisor (int): Both sides are multiples of it. Defaults to 32.
        inverse (str): How results go back to the image: ``'realised'`` divides
            by the rounded sides over the image's, ``'ratio'`` by the ratio.
        channel_order (str): ``'RGB'`` or ``'BGR'``, of the network's input.
        mean (list[float]): In the order ``channel_order``, in 0..255.
        std (list[float]): In the order ``channel_order``, in 0..255.
        in_graph (bool): The file takes raw BGR ``uint8`` values and swaps and
            scales them itself. Defaults to False.
    """
    resize_size: Optional[List[int]] = None
    keep_ratio: bool = True
    pad_size: Optional[List[int]] = None
    pad_position: str = 'bottom_right'
    pad_value: List[float] = field(default_factory=lambda: [114., 114., 114.])
    pad_divisor: int = 32
    inverse: str = 'realised'
    channel_order: str = 'RGB'
    mean: List[float] = field(default_factory=lambda: [0., 0., 0.])
    std: List[float] = field(default_factory=lambda: [255., 255., 255.])
    in_graph: bool = False

    def for_input_size(self, width: int, height: int) -> 'Preprocess':
        """Return the same treatment for another input size.

        The border that padding leaves at least stays as wide as it is (SuperGradients'
        636 within 640, for example).

        Args:
            width (int): Of the input, in pixels.
            height (int): The same.

        Returns:
            Preprocess: The same steps for that size.
        """
        old = self.pad_size or self.resize_size or [width, height]
        margin = [0, 0] if self.resize_size is None else [
            max(side - inner, 0) for side, inner in zip(old, self.resize_size)]
        resized = self.resize_size and [width - margin[0], height - margin[1]]
        return replace(self, pad_size=[width, height], resize_size=resized)


@dataclass
class Postprocess:
    """From the network's output to detections.

    Args:
        nms (str): What the file ends with: ``'onnx'`` (sorted detections),
            ``'none'`` (decoded boxes and scores of every prior) or another row of
            :data:`mmyolonas.export.flavours.table.FLAVOURS`.
        score_threshold (float): Scores must exceed it.
        iou_threshold (float): A box overlapping a better one by more is
            dropped.
        pre_top_k (int): Pairs of prior and class that take part in NMS.
        max_detections (int): Detections per image.
        class_agnostic (bool): One NMS for all classes instead of one for each.
        multi_label (bool): Whether a prior may stand for several classes; if
            not, it stands for its best one.
        clip (bool): Whether boxes are clipped, to the input before suppression
            and to the image in the end.
    """
    nms: str = 'none'
    score_threshold: float = 0.05
    iou_threshold: float = 0.7
    pre_top_k: int = 1000
    max_detections: int = 300
    class_agnostic: bool = False
    multi_label: bool = True
    clip: bool = True


@dataclass
class ModelMetadata:
    """Description of an exported model.

    Args:
        task (str): ``'detection'`` or ``'pose'``.
        class_names (list[str]): Names in label order.
        input_size (list[int], optional): (width, height) the file was made
            for; for a dynamic shape the usual one.
        preprocess (Preprocess): Image to input.
        postprocess (Postprocess): Output to detections.
        keypoint_names (list[str]): Pose: names in order.
        skeleton (list[list[int]]): Pose: index pairs of key points.
        keypoint_sigmas (list[float]): Pose: OKS constants.
        strides (list[int]): Strides of the levels.
        model (str): Name of the detector's configuration.
        mmyolonas_version (str): Version that wrote the file.
    """
    task: str = 'detection'
    class_names: List[str] = field(default_factory=list)
    input_size: Optional[List[int]] = None
    preprocess: Preprocess = field(default_factory=Preprocess)
    postprocess: Postprocess = field(default_factory=Postprocess)
    keypoint_names: List[str] = field(default_factory=list)
    skeleton: List[List[int]] = field(default_factory=list)
    keypoint_sigmas: List[float] = field(default_factory=list)
    strides: List[int] = field(default_factory=lambda: [8, 16, 32])
    model: str = ''
    mmyolonas_version: str = ''

    def __post_init__(self) -> None:
        _choice('task', self.task, TASKS)
        flavour_of(self.postprocess.nms)
        _choice('pad_position', self.preprocess.pad_position, PAD_POSITIONS)
        _choice('inverse', self.preprocess.inverse, ('realised', 'ratio'))
        _choice('channel_order', self.preprocess.channel_order, ('RGB', 'BGR'))

    def to_props(self) -> Dict[str, str]:
        """Return the description as flat strings (JSON values) for a file's properties.

        Returns:
            dict[str, str]: JSON by name of the field, and ``format``.
        """
        props = {key: json.dumps(value) for key, value in asdict(self).items()}
        if self.postprocess.nms == 'ultralytics':  # whose loaders read ``task`` as their own
            props[PREFIXED_TASK] = props.pop('task')
        return {'format': FORMAT, **props}

    @classmethod
    def from_props(cls, props: Mapping[str, str], source: str = 'the model') -> 'ModelMetadata':
        """Rebuild the description from a file's properties.

        Args:
            props (Mapping[str, str]): What :meth:`to_props` returned; further
                keys are ignored.
            source (str): Name of the file for messages.

        Returns:
            ModelMetadata: The description.

        Raises:
            ValueError: The file was not written by this package, or by an
                incompatible version.
        """
        written = props.get('format')
        if written is None:
            raise ValueError(
                f'{source} carries no mmyolonas meta data, so its pre-processing is unknown. '
                'Export it with tools/deploy.py or mmyolonas.export.export_onnx, or pass '
                'metadata=ModelMetadata(...) yourself.')
        if written != FORMAT:
            raise ValueError(
                f'{source} has meta data of format {written!r}, this version reads {FORMAT!r}; '
                'export the model again.')
        known = {f.name for f in fields(cls)}
        if PREFIXED_TASK in props:
            props = {**props, 'task': props[PREFIXED_TASK]}
        try:
            values = {key: json.loads(text) for key, text in props.items() if key in known}
            for key, kind in (('preprocess', Preprocess), ('postprocess', Postprocess)):
                values[key] = build(kind, values.get(key, {}), key, ignore=True)
            metadata = build(cls, values)
            _check_numbers(metadata)
        except (ValueError, TypeError, RecursionError) as error:
            raise ValueError(f'{source} has damaged meta data ({str(error)[:200]}); export the '
                             'model again.') from error
        return metadata


def _check_numbers(meta: ModelMetadata) -> None:
    """Raise if pre- and post-processing cannot be done with these numbers."""
    pre, post = meta.preprocess, meta.postprocess
    for name, values, count, low, high in (
            ('resize_size', pre.resize_size, 2, 1, 65536), ('pad_size', pre.pad_size, 2, 1, 65536),
            ('input_size', meta.input_size, 2, 1, 65536), ('pad_value', pre.pad_value, 3, 0, 255),
            ('mean', pre.mean, 3, -1e6, 1e6), ('std', pre.std, 3, 1e-6, 1e6),
            ('pad_divisor', [pre.pad_divisor], 1, 1, 4096),
            ('thresholds', [post.score_threshold, post.iou_threshold], 2, 0, 1),
            ('limits', [post.pre_top_k, post.max_detections], 2, 1, 10**7)):
        if values is not None and (len(values) != count or not all(
                low <= value <= high for value in values)):
            raise ValueError(f'{name} is {values}')
    points = len(meta.keypoint_names)
    if points and not all(len(pair) == 2 and all(0 <= i < points for i in pair)
                          for pair in meta.skeleton):
        raise ValueError('skeleton joins other key points')


def _choice(name: str, value: str, choices: Sequence[str]) -> None:
    if value not in choices:
        raise ValueError(f'{name} must be one of {", ".join(choices)}, got {value!r}.')
