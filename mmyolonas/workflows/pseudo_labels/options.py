"""What becomes a label, and what came of it."""
from dataclasses import dataclass, field
from pathlib import Path
from typing import Dict, List, Optional

from mmyolonas.evaluation.score_thresholds import ClassThreshold
from mmyolonas.utils.errors import UserError

#: Detections below are of no use for choosing a threshold.
_LOWEST_SCORE = 0.02


@dataclass
class PseudoLabelOptions:
    """What becomes a label.

    Args:
        score_thr: Smallest score, of all classes that ``class_thr`` does not name.
        class_thr: Smallest score by class name.
        min_precision: Choose each class's threshold so that this share of the
            detections on ``labelled`` is right; replaces ``score_thr``.
        labelled: COCO file for that, of images the model was not trained on.
        labelled_images: Their folder; by default the folder of the file.
        ignore_above: Detections below their threshold with a score from here on are
            written as uncertain, regions to ignore; None for none.
        match_iou: Overlap (OKS for poses) of a right detection. Defaults to 0.5.
        iou_thr: Boxes of a class that overlap more are suppressed; None for the
            config's.
        max_per_img: Most labels of an image; None for the config's.
        keypoint_thr: Key points below are labelled as not visible.
            Defaults to 0.3.
        batch_size: Images at a time. Defaults to 1.
        pictures: Number of drawn images, spread over all. Defaults to 16.
    """
    score_thr: float = 0.5
    class_thr: Dict[str, float] = field(default_factory=dict)
    min_precision: Optional[float] = None
    labelled: Optional[str] = None
    labelled_images: Optional[str] = None
    ignore_above: Optional[float] = None
    match_iou: float = 0.5
    iou_thr: Optional[float] = None
    max_per_img: Optional[int] = None
    keypoint_thr: float = 0.3
    batch_size: int = 1
    pictures: int = 16

    def check(self) -> None:
        """Raise UserError if the options contradict each other."""
        for name, value in dict(self.class_thr, score_thr=self.score_thr).items():
            if not 0 <= value <= 1:
                raise UserError(f'the score threshold {name} must lie within 0 and 1, got {value}.')
        if (self.min_precision is None) != (self.labelled is None):
            raise UserError('a precision target needs a labelled COCO file to measure it on, and '
                            'such a file a target: give both or neither.')
        if self.min_precision is not None and not 0 < self.min_precision <= 1:
            raise UserError(f'the precision target must lie within 0 and 1, got '
                            f'{self.min_precision}.')
        if self.ignore_above is not None and self.min_precision is None and (
                self.ignore_above >= max([self.score_thr, *self.class_thr.values()])):
            raise UserError(f'what is to be ignored begins at a score of {self.ignore_above:g}, '
                            f'and no label needs more than '
                            f'{max([self.score_thr, *self.class_thr.values()]):g}: give a lower '
                            'score.')

    @property
    def lowest(self) -> float:
        """float: Score below which the model need not report anything."""
        if self.min_precision is not None:
            return min(_LOWEST_SCORE, self.ignore_above or 1.)
        given = [self.score_thr, *self.class_thr.values()]
        return min(given if self.ignore_above is None else [*given, self.ignore_above])


@dataclass
class PseudoLabelReport:
    """What was done.

    Attributes:
        images: Labelled images.
        annotations: Labels.
        uncertain: Regions to ignore.
        before: Images that an interrupted call had done.
        unreadable: A sentence for each image that was left out.
        thresholds: By class.
        per_class: Labels by class.
        pictures: Folder of the drawn images; None without.
        open_shards: Parts that other processes have to do before there is a file.
    """
    images: int
    annotations: int
    uncertain: int
    before: int
    unreadable: List[str]
    thresholds: List[ClassThreshold]
    per_class: Dict[str, int]
    pictures: Optional[Path]
    open_shards: List[int] = field(default_factory=list)
