"""The COCO file of pseudo-labels, written piece by piece."""
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Container, Dict, Iterable, Iterator, List, Optional, Sequence

from mmyolonas.utils.files import PathLike, atomic_path


@dataclass
class Counts:
    """What a file holds.

    Attributes:
        images: Number of images.
        annotations: Number of labels.
        uncertain: Number of annotations that are none: regions to ignore.
        scores: By class name, labels in each of 20 equal bins of the score.
    """
    images: int
    annotations: int
    uncertain: int
    scores: Dict[str, List[int]]


def relative_name(path: Path, root: Path) -> str:
    """Return an image's ``file_name``: its path from ``root``, with forward slashes."""
    return Path(os.path.relpath(path.absolute(), root.absolute())).as_posix()


def detections_of(image_id: int, records: Iterable[Dict[str, Any]]) -> List[Dict[str, Any]]:
    """Return detections as pycocotools reads them.

    Args:
        image_id (int): The image.
        records (Iterable[dict]): See :meth:`Prediction.records`.

    Returns:
        list[dict]: ``image_id``, ``label``, ``score``, ``bbox`` (x, y, width,
        height), ``iscrowd`` (1 for an uncertain one) and, for poses, ``keypoints``
        (x, y, score, ...).
    """
    entries = []
    for record in records:
        x1, y1, x2, y2 = record['box']
        entry = dict(image_id=image_id, label=record['label'], score=record['score'],
                     bbox=[x1, y1, round(x2 - x1, 2), round(y2 - y1, 2)],
                     iscrowd=int(bool(record.get('uncertain'))))
        if 'keypoints' in record:
            entry['keypoints'] = [value for point in record['keypoints'] for value in point]
        entries.append(entry)
    return entries


class PseudoLabelFile:
    """Writes records of a journal as a COCO file; holds one image at a time.

    Each annotation has its ``score``, and that of a pose ``keypoint_scores``. Uncertain
    ones are marked ``iscrowd``: neither objects nor background.

    Args:
        classes (Sequence[str]): Class names.
        meta (dict): The model's data set meta; a skeleton is taken over.
        info (dict): The file's ``info``.
        category_ids (dict, optional): Category id by class name; 1, 2, ... by
            default.
        keypoint_thr (float): Key points below get the visibility 0.
    """

    def __init__(self, classes: Sequence[str], meta: Dict[str, Any], info: Dict[str, Any],
                 category_ids: Optional[Dict[str, int]] = None,
                 keypoint_thr: float = 0.3) -> None:
        self.classes = tuple(classes)
        self.info = info
        self.keypoint_thr = keypoint_thr
        ids = category_ids or {name: index for index, name in enumerate(classes, 1)}
        self.ids = [ids[name] for name in classes]
        self.categories = [dict(id=ids[name], name=name, **_skeleton(meta)) for name in classes]

    def write(self, path: PathLike, records: Iterable[Dict[str, Any]],
              names: Container[str]) -> Counts:
        """Write the file atomically.

        Args:
            path (str | Path): The file.
            records (Iterable[dict]): ``file``, ``width``, ``height`` and
                ``detections``; gone through twice. Others are passed over.
            names (Container[str]): Files to take.
        """
        counts = Counts(0, 0, 0, {name: [0] * 20 for name in self.classes})

        def images() -> Iterator[Dict[str, Any]]:
            for record in records:
                if record.get('file') in names:
                    counts.images += 1
                    yield dict(id=counts.images, file_name=record['file'], width=record['width'],
                               height=record['height'])

        def annotations() -> Iterator[Dict[str, Any]]:
            number = written = 0
            for record in records:
                if record.get('file') not in names:
                    continue
                number += 1
                for entry in detections_of(number, record['detections']):
                    written += 1
                    if entry['iscrowd']:
                        counts.uncertain += 1
                    else:
                        counts.annotations += 1
                        counts.scores[self.classes[entry['label']]][min(
                            int(entry['score'] * 20), 19)] += 1
                    yield self._annotation(written, entry)

        with atomic_path(path) as temporary, open(
                temporary, 'w', encoding='utf-8', errors='backslashreplace') as file:
            file.write('{"info": ' + json.dumps(self.info, ensure_ascii=False))
            file.write(',\n"categories": ' + json.dumps(self.categories, ensure_ascii=False))
            _write_list(file, 'images', images())
            _write_list(file, 'annotations', annotations())
            file.write('}\n')
        return counts

    def _annotation(self, number: int, entry: Dict[str, Any]) -> Dict[str, Any]:
        box = entry['bbox']
        annotation = dict(
            id=number, image_id=entry['image_id'], category_id=self.ids[entry['label']], bbox=box,
            area=round(box[2] * box[3], 2), iscrowd=entry['iscrowd'],
            score=entry['score'])
        if 'keypoints' in entry:
            values = entry['keypoints']
            scores = values[2::3]
            seen = [2 if score >= self.keypoint_thr else 0 for score in scores]
            annotation['keypoints'] = [
                value for x, y, v in zip(values[::3], values[1::3], seen)
                for value in ((x, y, v) if v else (0, 0, 0))]
            annotation.update(num_keypoints=sum(v > 0 for v in seen), keypoint_scores=scores)
        return annotation


def _write_list(file: IO[str], name: str, items: Iterable[Dict[str, Any]]) -> None:
    """Write a member that is a list, one item a line."""
    file.write(f',\n"{name}": [')
    for index, item in enumerate(items):
        file.write((',\n' if index else '\n') + json.dumps(item, ensure_ascii=False))
    file.write('\n]')


def _skeleton(meta: Dict[str, Any]) -> Dict[str, Any]:
    """Return the names of the key points and the links of a pose model's meta, COCO's way."""
    names = meta.get('keypoint_id2name')
    if not names:
        return {}
    return dict(keypoints=[names[index] for index in sorted(names)],
                skeleton=[[int(a) + 1, int(b) + 1] for a, b in meta.get('skeleton_links') or ()])
