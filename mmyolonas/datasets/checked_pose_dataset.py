"""mmpose's COCO data set with checks; imported by the configs, since it needs mmpose."""
import logging
import os.path as osp
from typing import Any, List, Optional, Tuple

import numpy as np
from mmengine.fileio import get_local_path
from mmengine.logging import print_log
from mmpose.datasets.datasets.body import CocoDataset

from mmyolonas.datasets.formats.box_causes import check_boxes
from mmyolonas.datasets.formats.coco_checks import box_array, clean_boxes, read_coco_file
from mmyolonas.datasets.formats.pose_checks import clean_poses
from mmyolonas.datasets.transforms.load_checked_image import use_checked_loading
from mmyolonas.registry import DATASETS
from mmyolonas.utils.data_error import DataError
from mmyolonas.utils.image_checks import ImageError, image_problem


@DATASETS.register_module()
class CheckedPoseDataset(CocoDataset):
    """COCO-format key points whose faults are said in one sentence each.

    A drop-in for mmpose's ``CocoDataset``: same arguments, same results on sound
    files. What is different:

    - The file is read as ``mmyolonas.CheckedCocoDataset`` reads its own: numbers in
      any spelling, one sentence for each fault.
    - Key points that are of another number, or are not numbers, raise ``DataError``;
      points that are not finite are not labelled.
    - Objects without key points keep their boxes, with points that are not
      labelled; mmpose leaves them out without a word, so that a model learns that
      nothing is there. Boxes that cannot be used are left out with a counted
      warning.
    - Errors of the pipeline name the image.

    Args:
        kwargs: See mmpose's ``CocoDataset``.

    Raises:
        DataError: See above.
    """

    def __init__(self, *args, **kwargs) -> None:
        super().__init__(*args, **kwargs)
        use_checked_loading(self.pipeline)

    def _load_annotations(self) -> Tuple[List[dict], List[dict]]:
        """Read and check the annotation file.

        Returns:
            tuple[list, list]: Objects and images, as in mmpose.
        """
        try:
            with get_local_path(self.ann_file) as path:
                data = read_coco_file(path, self.ann_file)
        except FileNotFoundError:
            raise DataError(f"annotation file '{self.ann_file}' does not exist: check data_root "
                            'and ann_file in the config') from None
        if not data['images']:
            raise DataError(f"annotation file '{self.ann_file}' lists no images: the data set is "
                            'empty')
        known = {image['id']: image for image in data['images']}
        orphans = sum(a['image_id'] not in known for a in data['annotations'])
        data['annotations'] = [a for a in data['annotations'] if a['image_id'] in known]
        if orphans:
            self._warn(f"{orphans} objects belong to image ids that are not in 'images' and were "
                       'left out')
        self._drop_bad_boxes(data)
        for problem, count in clean_poses(data, self.metainfo['num_keypoints'],
                                          self.ann_file).items():
            self._warn(f'{count} of {len(data["annotations"])} objects {problem}')
        self._metainfo['CLASSES'] = data['categories']
        objects = {key: [] for key in known}
        for annotation in data['annotations']:
            objects[annotation['image_id']].append(annotation)
        instances, images = [], []
        for key, image in known.items():
            if key % self.sample_interval:
                continue
            image.update(img_id=key, img_path=osp.join(self.data_prefix['img'],
                                                       self._file_name(image)))
            images.append(image)
            infos = [self.parse_data_info(dict(raw_ann_info=a, raw_img_info=image))
                     for a in objects[key]]
            instances += [info for info in infos if info]
        return instances, images

    def _file_name(self, image: dict) -> str:
        name = image['file_name']
        if '\\' in name and not osp.isfile(osp.join(self.data_prefix['img'], name)):
            return name.replace('\\', '/')  # a Windows path
        return name

    def _drop_bad_boxes(self, data: dict) -> None:
        annotations = data['annotations']
        sizes = {image['id']: (image['width'], image['height']) for image in data['images']}
        boxes = box_array(annotations, self.ann_file)
        of_image = np.array([sizes[a['image_id']] for a in annotations], float).reshape(-1, 2)
        checked = clean_boxes(boxes, of_image)
        check_boxes(boxes, of_image, annotations, checked.keep, self.ann_file)
        for problem, count in checked.problems.items():
            self._warn(f'{count} of {len(annotations)} boxes {problem}')
        data['annotations'] = [a for a, keep in zip(annotations, checked.keep) if keep]

    def _warn(self, text: str) -> None:
        print_log(f'{self.ann_file}: {text}', logger='current', level=logging.WARNING)

    def prepare_data(self, idx: int) -> Optional[Any]:
        """Run the pipeline on one image.

        Args:
            idx (int): Index of the image.

        Returns:
            Any: What the pipeline returns.

        Raises:
            DataError: The image cannot be used, or a transform failed on it.
        """
        try:
            return super().prepare_data(idx)
        except DataError:
            raise
        except Exception as error:
            path = self.get_data_info(idx)['img_path']
            message = str(error) if isinstance(error, ImageError) else image_problem(path)
            raise DataError(message or f"the data pipeline failed on image '{path}' with "
                            f'{type(error).__name__}: {error}') from error
