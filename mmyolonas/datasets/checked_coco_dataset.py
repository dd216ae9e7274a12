"""mmdet's COCO data set with checks."""
import logging
import os.path as osp
from typing import Any, Dict, List, Optional

import numpy as np
from mmdet.datasets import CocoDataset
from mmengine.fileio import get_local_path
from mmengine.logging import print_log

from mmyolonas.datasets.formats.box_causes import check_boxes, check_ignored
from mmyolonas.datasets.formats.coco_checks import (
    CategoryMap,
    box_array,
    clean_boxes,
    map_categories,
    read_coco_file,
    shorten,
)
from mmyolonas.datasets.formats.coco_masks import checked_mask
from mmyolonas.datasets.transforms.load_checked_image import use_checked_loading
from mmyolonas.registry import DATASETS
from mmyolonas.utils.data_error import DataError
from mmyolonas.utils.image_checks import ImageError, image_problem


@DATASETS.register_module()
class CheckedCocoDataset(CocoDataset):
    """COCO-format detection data whose faults are said in one sentence each.

    A drop-in for mmdet's ``CocoDataset``: same arguments, same results. What
    is different:

    - Labels follow ``metainfo['classes']``; mmdet numbers them by their order
      in the file. Where both orders differ a warning says so: evaluate with
      ``mmyolonas.CheckedCocoMetric``.
    - Annotations are checked on loading. An unreadable file, class names or
      category ids that do not match and an empty set raise ``DataError``;
      boxes that are inverted, empty, not finite or outside are dropped and
      those reaching out clipped, each with one counted warning.
    - Errors of the pipeline name the image; an image that is missing, empty,
      cut short or no image raises ``DataError`` or is skipped.
    - The layout of Roboflow exports (``_annotations.coco.json`` beside the
      images, category 0 for the whole set) needs nothing but
      ``data_prefix=dict(img='train/')`` and the class names.
    - ``area`` and ``iscrowd`` may be missing.

    Images without boxes are kept unless ``filter_cfg`` says otherwise.

    Args:
        strict (bool): Whether class names that the file lacks are an error;
            if not, they are a warning. Defaults to True.
        bad_images (str): 'raise', or 'skip' to warn and train on another
            image instead; testing always raises. Defaults to 'raise'.
        with_mask (bool): Whether to keep the segmentations, which detection
            does not need and which take most of the memory.
            Defaults to False.
        keep_ignored (bool): Whether boxes marked ``ignore`` stay as regions to ignore,
            like those marked ``iscrowd``, for a head with ``ignored_regions``; else
            they are dropped, as in mmdet. Defaults to False.
        kwargs: See mmdet's ``CocoDataset``.

    Raises:
        DataError: See above.
    """

    def __init__(self,
                 *args,
                 strict: bool = True,
                 bad_images: str = 'raise',
                 with_mask: bool = False,
                 keep_ignored: bool = False,
                 **kwargs) -> None:
        if bad_images not in ('raise', 'skip'):
            raise ValueError(f"bad_images must be 'raise' or 'skip', got {bad_images!r}")
        self.strict = strict
        self.bad_images = bad_images
        self.with_mask = with_mask
        self.keep_ignored = keep_ignored
        self._skipped: set = set()
        self._warned_about_size = False
        super().__init__(*args, **kwargs)
        use_checked_loading(self.pipeline)

    def load_data_list(self) -> List[dict]:
        """Read and check the annotation file.

        Returns:
            list[dict]: One dictionary for each image, as in mmdet.
        """
        try:
            with get_local_path(self.ann_file, backend_args=self.backend_args) as path:
                data = read_coco_file(path, self.ann_file, need_annotations=not self.test_mode)
        except FileNotFoundError:
            raise DataError(f"annotation file '{self.ann_file}' does not exist: check data_root "
                            'and ann_file in the config') from None
        if not data['images']:
            raise DataError(f"annotation file '{self.ann_file}' lists no images: the data set is "
                            'empty')
        categories = map_categories(data, self.metainfo.get('classes'), self.ann_file, self.strict)
        self._report_categories(categories, data)
        self.cat_ids = categories.cat_ids
        self.cat2label = categories.labels
        self.cat_img_map: Dict[int, List[int]] = {cat_id: [] for cat_id in self.cat_ids}
        instances = self._load_instances(data, categories)
        return [self._data_info(image, instances.get(image['id'], []))
                for image in data['images']]

    def _data_info(self, image: Dict[str, Any], instances: List[dict]) -> Dict[str, Any]:
        """Return one image's entry of the data list."""
        info = dict(
            img_path=self._image_path(image['file_name']),
            img_id=image['id'],
            seg_map_path=None,
            height=image['height'],
            width=image['width'],
            instances=instances)
        if self.data_prefix.get('seg', None):
            name = image['file_name'].rsplit('.', 1)[0] + self.seg_map_suffix
            info['seg_map_path'] = osp.join(self.data_prefix['seg'], name)
        if self.return_classes:
            info.update(
                text=self.metainfo['classes'],
                caption_prompt=self.caption_prompt,
                custom_entities=True)
        return info

    def _image_path(self, name: str) -> str:
        """Return where an image is; a Windows path in the file is read as one."""
        path = osp.join(self.data_prefix.get('img', ''), name)
        if '\\' in name and '://' not in path and not osp.isfile(path):
            return osp.join(self.data_prefix.get('img', ''), name.replace('\\', '/'))
        return path

    def _load_instances(self, data: Dict[str, Any],
                        categories: CategoryMap) -> Dict[int, List[dict]]:
        """Return the usable boxes of every image id and report the others."""
        sizes = {image['id']: (image['width'], image['height']) for image in data['images']}
        annotations, orphans, ignored, others = [], 0, 0, 0
        for annotation in data['annotations']:
            if annotation['image_id'] not in sizes:
                orphans += 1
            elif annotation['category_id'] in categories.labels:
                ignored += bool(annotation.get('ignore'))
                others += not annotation.get('ignore')
                if self.keep_ignored or not annotation.get('ignore'):
                    annotations.append(annotation)
        if orphans:
            self._warn(f"{orphans} boxes belong to image ids that are not in 'images' and were "
                       'dropped')
        if ignored and not self.keep_ignored:
            self._warn(f'{ignored} boxes are marked ignore and were dropped')
        check_ignored(ignored, others, self.ann_file)
        boxes = box_array(annotations, self.ann_file)
        of_image = np.array([sizes[a['image_id']] for a in annotations], float).reshape(-1, 2)
        checked = clean_boxes(boxes, of_image)
        check_boxes(boxes, of_image, annotations, checked.keep, self.ann_file)
        for problem, count in checked.problems.items():
            self._warn(f'{count} of {len(annotations)} boxes {problem}')
        instances: Dict[int, List[dict]] = {}
        for annotation, box, keep in zip(annotations, checked.boxes.tolist(), checked.keep):
            if not keep:
                continue
            label = categories.labels[annotation['category_id']]
            instance = self._instance(annotation, box, label)
            instances.setdefault(annotation['image_id'], []).append(instance)
            if not instance['ignore_flag']:
                self.cat_img_map[self.cat_ids[label]].append(annotation['image_id'])
        if not instances and not self.test_mode:
            self._without_boxes()
        return instances

    def _without_boxes(self) -> None:
        """Raise, unless images without objects are asked for, as a part of other data."""
        text = 'there is not a single box: the model would learn to find nothing'
        if self.filter_cfg is None or self.filter_cfg.get('filter_empty_gt', True):
            raise DataError(
                f"annotation file '{self.ann_file}': {text}. Label the images first, or export "
                'the labels with them; for images without objects beside other data set '
                'filter_cfg=dict(filter_empty_gt=False)')
        self._warn(text)

    def _instance(self, annotation: Dict[str, Any], box: List[float], label: int) -> dict:
        """Return the entry of one usable box."""
        ignored = annotation.get('iscrowd') or annotation.get('ignore')
        instance = dict(bbox=box, bbox_label=label, ignore_flag=int(bool(ignored)))
        if self.with_mask and annotation.get('segmentation'):
            instance['mask'] = checked_mask(annotation, self.ann_file)
        return instance

    def _report_categories(self, categories: CategoryMap, data: Dict[str, Any]) -> None:
        if categories.left_out:
            known = set(categories.labels)
            count = sum(a['category_id'] not in known for a in data['annotations'])
            self._warn(f'{count} boxes of {shorten(categories.left_out)} were left out because '
                       'metainfo classes does not name them')
        missing = [cls for cls, cat_id in zip(self.metainfo['classes'], categories.cat_ids)
                   if cat_id is None]
        if missing:
            self._warn(f'no category is called {shorten(missing)}')
        if self.test_mode and not categories.in_file_order:
            self._warn("metainfo classes are in another order than the file's categories: "
                       "evaluate with type='mmyolonas.CheckedCocoMetric', mmdet's CocoMetric "
                       'would mix the classes up')

    def _warn(self, text: str) -> None:
        print_log(f'{self.ann_file}: {text}', logger='current', level=logging.WARNING)

    def filter_data(self) -> List[dict]:
        """Filter images according to ``filter_cfg``; see mmdet's ``CocoDataset``.

        Returns:
            list[dict]: The remaining images, at least one.
        """
        if self.test_mode or self.filter_cfg is None:
            return self.data_list
        kept = super().filter_data()
        if not kept:
            raise DataError(f"annotation file '{self.ann_file}': filter_cfg={self.filter_cfg} "
                            f'leaves none of {len(self.data_list)} images: give it boxes or set '
                            'filter_empty_gt=False')
        return kept

    def prepare_data(self, idx: int) -> Optional[Any]:
        """Run the pipeline on one image.

        Args:
            idx (int): Index of the image.

        Returns:
            Any: What the pipeline returns; None for a skipped image.
        """
        info = self.get_data_info(idx)
        path, height, width = info['img_path'], info['height'], info['width']
        local = self.backend_args is None and '://' not in path
        try:
            data = self.pipeline(info)
        except Exception as error:
            if isinstance(error, (DataError, ImageError)):
                message = str(error)
            else:
                message = image_problem(path) if local else None
            if message is None:
                raise DataError(f"the data pipeline failed on image '{path}' with "
                                f'{type(error).__name__}: {error}') from error
            if self.bad_images == 'raise' or self.test_mode:
                raise DataError(message) from None
            if path not in self._skipped:
                self._skipped.add(path)
                self._warn(f'skipped: {message}')
            return None
        self._check_size(data, path, height, width)
        return data

    def _check_size(self, data: Any, path: str, height: int, width: int) -> None:
        """Warn once if an image's size is not what the annotations say."""
        sample = data.get('data_samples') if isinstance(data, dict) else None
        shape = getattr(sample, 'ori_shape', None)
        if self._warned_about_size or shape is None or tuple(shape[:2]) == (height, width):
            return
        self._warned_about_size = True
        self._warn(f"image '{path}' has {shape[1]}x{shape[0]} pixels but the annotations say "
                   f'{width}x{height}, so its boxes may not fit (a rotated photo, or images '
                   'resized after annotation?)')
