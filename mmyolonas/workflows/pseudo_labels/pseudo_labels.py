"""Labels for unlabelled images by a trained model, as a COCO file with scores."""
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterable, List, Optional, Sequence, Tuple

import numpy as np

from mmyolonas.datasets.formats.coco_checks import coco_classes, read_coco_file
from mmyolonas.evaluation.score_thresholds import (
    ClassThreshold,
    class_thresholds,
    match_detections,
)
from mmyolonas.inference.demo import batches
from mmyolonas.inference.inference import InferenceOptions, Predictor
from mmyolonas.inference.prediction import Prediction
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import (
    explain_full_disk,
    file_digest,
    write_image,
    write_text,
)
from mmyolonas.utils.images import Frame, iter_images
from mmyolonas.utils.journal import Journal
from mmyolonas.utils.locks import only_writer
from mmyolonas.utils.progress import track
from mmyolonas.visualization.pseudo_labels import plot_pseudo_labels
from mmyolonas.workflows.pseudo_labels.options import PseudoLabelOptions, PseudoLabelReport
from mmyolonas.workflows.pseudo_labels.pseudo_label_file import (
    PseudoLabelFile,
    detections_of,
    relative_name,
)
from mmyolonas.workflows.pseudo_labels.shards import Parts, Shard

#: Seconds that a process waits while another one joins the parts.
_MERGE_SECONDS = 3600.


@dataclass
class _Done:
    """What came of labelling: thresholds, images of earlier calls, unreadable images."""
    thresholds: List[ClassThreshold]
    before: int
    unreadable: List[str]


class PseudoLabeller:
    """Labels images with a model, in bounded memory, resumable at any moment.

    Every image is noted in a journal beside the result as soon as it is done,
    so a killed process loses the images of one batch; the COCO file is written
    from it at the end. Images that cannot be read are reported, left out, and
    tried again by the next call. Several processes may share the images
    (:class:`Shard`); the last one that ends writes the file.

    Args:
        config (str): Config of a detector (mmdet) or a bottom-up or one-stage
            pose estimator (mmpose).
        checkpoint (str): Its checkpoint.
        options (PseudoLabelOptions): See there.
        device (str, optional): Defaults to the GPU if there is one.
        cfg_options (dict, optional): Settings of the config to override.

    Raises:
        UserError: A file is missing, an option is wrong, the model needs boxes.
    """

    def __init__(self, config: str, checkpoint: str, options: PseudoLabelOptions,
                 device: Optional[str] = None, cfg_options: Optional[dict] = None) -> None:
        options.check()
        self.options = options
        self.predictor = Predictor(
            config, checkpoint,
            InferenceOptions(options.lowest, options.iou_thr, options.max_per_img), device,
            cfg_options=cfg_options)
        if 'Topdown' in self.predictor.cfg.model.type:
            raise UserError(f'{config} is a top-down pose estimator, which needs the boxes of a '
                            'detector; use a bottom-up or one-stage model such as YOLO-NAS-Pose.')
        self.classes = self._classes()
        self._identity = dict(
            config=self.predictor.cfg.pretty_text, checkpoint=file_digest(checkpoint),
            labelled=options.labelled and file_digest(options.labelled),
            options={k: v for k, v in asdict(options).items()
                     if k not in ('batch_size', 'pictures')})
        self.checkpoint = checkpoint

    def _classes(self) -> Tuple[str, ...]:
        classes = self.predictor.classes
        if self.predictor.is_pose:
            classes = classes[:1] or ('person', )
            if self.options.labelled:
                classes = coco_classes(self.options.labelled)[:1]
        elif not classes:
            raise UserError('neither the checkpoint nor the config knows the class names: add '
                            'test_dataloader.dataset.metainfo.classes to the config.')
        unknown = [name for name in self.options.class_thr if name not in classes]
        if unknown:
            raise UserError(f'unknown class {", ".join(unknown)}; the model has '
                            f'{", ".join(classes)}.')
        return tuple(classes)

    def run(self, paths: Sequence[Path], out: Path,
            image_root: Optional[Path] = None,
            shard: Optional[Shard] = None) -> PseudoLabelReport:
        """Label images and write the COCO file.

        Args:
            paths (Sequence[Path]): Image files.
            out (Path): COCO file to write.
            image_root (Path, optional): Folder that ``file_name`` starts from;
                by default the common folder of the images.
            shard (Shard, optional): Label a part of the images; the other processes get
                the same ones. Defaults to all.

        Returns:
            PseudoLabelReport: Thresholds and counts.

        Raises:
            UserError: Not one image could be read, or the disk is full.
        """
        out = Path(out)
        root = Path(image_root or os.path.commonpath([p.absolute().parent for p in paths]))
        names = {str(path): relative_name(path, root) for path in paths}
        header = dict(self._identity, root=str(root.absolute()))
        if shard is not None:
            return self._run_shard(names, out, header, shard)
        with Journal(out.with_name(f'.{out.name}.journal'), header) as journal:
            done = self._work(names, names, journal, out, self._choose_thresholds)
            if len(done.unreadable) == len(names):
                journal.remove()
                raise UserError(f'none of the {len(names)} images could be read; the first: '
                                f'{done.unreadable[0]}')
            report = self._write(names, out, journal, done, str(journal.path))
            journal.remove()
        return report

    def _run_shard(self, names: Dict[str, str], out: Path, header: Dict[str, Any],
                   shard: Shard) -> PseudoLabelReport:
        """Label a part; write the file if all parts are done."""
        parts = Parts(out, header, list(names.values()), shard.count)
        advice = 'Another process labels this part: give each its own --shard I/N.'
        with Journal(parts.path(shard.index), parts.header, advice=advice) as journal:
            done = self._work({path: names[path] for path in shard.of(list(names))}, names,
                              journal, out,
                              lambda: parts.thresholds(self._choose_thresholds))
            journal.write(dict(unreadable=done.unreadable))
        with only_writer(out, timeout=_MERGE_SECONDS):
            waiting = parts.open()
            if waiting:
                count = len(shard.of(list(names))) - len(done.unreadable)
                return PseudoLabelReport(count, 0, 0, done.before, done.unreadable,
                                         done.thresholds, {}, None, waiting)
            done.unreadable = parts.unreadable
            if len(done.unreadable) == len(names):
                raise UserError(f'none of the {len(names)} images could be read; the first: '
                                f'{done.unreadable[0]}')
            return self._write(names, out, parts, done, str(parts.folder))

    def _work(self, part: Dict[str, str], names: Dict[str, str], journal: Journal, out: Path,
              choose: Callable[[], List[ClassThreshold]]) -> _Done:
        """Label what is not done of a part of the images."""
        if journal.discarded:
            print(f'{journal.path} was made with another model or other options: '
                  'starting anew', flush=True)
        thresholds, done = self._read_journal(journal)
        before = len(done & set(part.values()))
        if thresholds is None:
            thresholds = choose()
            journal.write(dict(thresholds=[asdict(t) for t in thresholds]))
        unreadable = self._label(part, done, thresholds, journal, self._to_draw(list(names)), out)
        return _Done(thresholds, before, unreadable)

    def _write(self, names: Dict[str, str], out: Path, records: Iterable[Dict[str, Any]],
               done: _Done, kept: str) -> PseudoLabelReport:
        """Write the file of all records, and what lies beside it."""
        result = PseudoLabelFile(self.classes, self.predictor.meta, self._info(done.thresholds),
                                 self._category_ids(), self.options.keypoint_thr)
        with explain_full_disk(out, f'All labels are in {kept}; make room and start the same '
                               'command again.'):
            counts = result.write(out, records, set(names.values()))
            self._write_unreadable(out, done.unreadable)
            plot_pseudo_labels(counts.scores, [asdict(t) for t in done.thresholds],
                               out.with_suffix('.png'))
        return PseudoLabelReport(
            counts.images, counts.annotations, counts.uncertain, done.before, done.unreadable,
            done.thresholds, {name: sum(bins) for name, bins in counts.scores.items()},
            self._picture_dir(out) if self.options.pictures else None)

    @staticmethod
    def _read_journal(journal: Journal) -> Tuple[Optional[List[ClassThreshold]], set]:
        thresholds, done = None, set()
        for record in journal:
            if 'thresholds' in record:
                thresholds = [ClassThreshold(**values) for values in record['thresholds']]
            elif 'file' in record:
                done.add(record['file'])
        return thresholds, done

    # ---------------------------------------------------------------- labels
    def _label(self, names: Dict[str, str], done: set, thresholds: List[ClassThreshold],
               journal: Journal, drawn: Dict[str, int], out: Path) -> List[str]:
        """Label what is not done; return a sentence for each unreadable image."""
        limits = np.array([t.threshold for t in thresholds], np.float32)
        lowest = limits
        if self.options.ignore_above is not None:
            lowest = np.minimum(limits, np.float32(self.options.ignore_above))
        unreadable: List[str] = []
        todo = [Path(path) for path, name in names.items() if name not in done]
        frames = iter_images(track(todo, 'pseudo-labels'), unreadable)
        for batch in batches(frames, self.options.batch_size):
            for frame, prediction in zip(batch, self.predictor([f.image for f in batch])):
                labels = np.zeros(len(prediction), int) if self.predictor.is_pose else (
                    prediction.labels)
                kept = prediction.scores >= lowest[labels]
                prediction, limit = prediction.select(kept), limits[labels[kept]]
                sure = prediction.scores >= limit
                if frame.source in drawn:
                    self._draw(frame, prediction.select(sure), drawn[frame.source], out)
                height, width = frame.image.shape[:2]
                journal.write(dict(
                    file=names[frame.source], width=width, height=height,
                    detections=[record if certain else dict(record, uncertain=True)
                                for record, certain in zip(prediction.records(), sure)]))
        return unreadable

    def _to_draw(self, paths: List[str]) -> Dict[str, int]:
        """Return the images to draw and their numbers, spread over all."""
        count = min(self.options.pictures, len(paths))
        indices = np.linspace(0, len(paths) - 1, count).astype(int) if count else []
        return {paths[index]: int(index) for index in indices}

    @staticmethod
    def _picture_dir(out: Path) -> Path:
        return out.with_name(f'{out.stem}_pictures')

    def _draw(self, frame: Frame, prediction: Prediction, number: int, out: Path) -> None:
        image = self.predictor.draw(frame.image, prediction, self.options.keypoint_thr)
        name = f'{number:06d}_{Path(frame.source).stem}.jpg'
        write_image(self._picture_dir(out) / name, image)

    def _write_unreadable(self, out: Path, unreadable: List[str]) -> None:
        path = out.with_name(f'{out.stem}_unreadable.txt')
        if unreadable:
            write_text(path, ''.join(f'{line}\n' for line in unreadable))
        else:
            path.unlink(missing_ok=True)

    # ------------------------------------------------------------ thresholds
    def _choose_thresholds(self) -> List[ClassThreshold]:
        """Return the thresholds of the options, or those that reach the precision."""
        options = self.options
        if options.min_precision is None:
            return [ClassThreshold(name, options.class_thr.get(name, options.score_thr),
                                   -1.0, -1.0, 0, 'given') for name in self.classes]
        data = read_coco_file(options.labelled, options.labelled)
        folder = Path(options.labelled_images or Path(options.labelled).parent)
        entries = {str(folder / image['file_name']): image['id'] for image in data['images']}
        unreadable: List[str] = []
        paths = [Path(path) for path in entries]
        frames = iter_images(track(paths, 'choosing thresholds'), unreadable)
        detections: List[Dict[str, Any]] = []
        for batch in batches(frames, options.batch_size):
            for frame, found in zip(batch, self.predictor([f.image for f in batch])):
                detections += detections_of(entries[frame.source], found.records())
        if len(unreadable) == len(entries):
            raise UserError(f'none of the images of {options.labelled} could be read: give their '
                            'folder (--labelled-images).')
        sigmas = None
        if self.predictor.is_pose:
            sigmas = self.predictor.meta['sigmas']
        matches = match_detections(data, detections, self.classes, options.match_iou, sigmas)
        chosen = class_thresholds(matches, options.min_precision)
        if all(t.basis == 'none' for t in chosen):
            raise UserError(
                f'no score threshold gives a precision of {options.min_precision:g} on '
                f'{options.labelled} ({len(detections)} detections): lower the target, or '
                'train the model longer.')
        return chosen

    # ---------------------------------------------------------------- output
    def _category_ids(self) -> Optional[Dict[str, int]]:
        """Return the labelled file's category ids, so that both files agree."""
        if not self.options.labelled:
            return None
        data = read_coco_file(self.options.labelled, self.options.labelled)
        used = {a['category_id'] for a in data['annotations']}
        ids = {c['name']: c['id'] for c in data['categories'] if c['id'] in used}
        return ids if set(self.classes) <= set(ids) else None

    def _info(self, thresholds: List[ClassThreshold]) -> Dict[str, Any]:
        return dict(
            description='pseudo-labels: the annotations are predictions with scores',
            checkpoint=Path(self.checkpoint).name, checkpoint_sha256=self._identity['checkpoint'],
            thresholds=[asdict(t) for t in thresholds])
