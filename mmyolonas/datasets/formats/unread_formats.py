"""Formats that are not read, by their files: their names and the way out."""
import re
from itertools import islice
from pathlib import Path
from typing import Optional

from mmyolonas.datasets.formats.walking import files_below

_MOST = 2000  # files looked at
_FEW = 3  # files of a kind looked into
_EXPORT = 'export it from there in COCO format, with the images'
#: End of a file's name, what it is and what to do.
_BY_NAME = (
    ('.tfrecord', f'a TFRecord data set: {_EXPORT}'),
    ('.parquet', 'a table in Parquet, as Hugging Face has them: convert it with the datasets '
                 'package, or download the data set in COCO format'),
    ('metadata.jsonl', 'an image folder of Hugging Face (metadata.jsonl): convert it to COCO '
                       'JSON'),
    ('.manifest', f'a manifest of SageMaker Ground Truth: {_EXPORT}'),
    ('.lst', 'an MXNet list: convert it to COCO JSON'),
    ('.ndjson', f'a list in NDJSON, as Labelbox and Ultralytics write: {_EXPORT}'),
    ('.mat', 'MATLAB ground truth: write its table as CSV with columns image, class, xmin, '
             'ymin, xmax, ymax'),
    ('.h5', 'an HDF5 file, as DeepLabCut and SLEAP write: export it in COCO format'),
    ('.zip', 'an archive that is not unpacked: unpack it first'),
    ('.rar', 'an archive that is not unpacked: unpack it first'),
    ('.7z', 'an archive that is not unpacked: unpack it first'),
    ('.tar', 'an archive that is not unpacked: unpack it first'),
    ('.tar.gz', 'an archive that is not unpacked: unpack it first'),
    ('.tgz', 'an archive that is not unpacked: unpack it first'),
)
_TABLE = 'convert it to COCO JSON, or to a CSV with columns image, class, xmin, ymin, xmax, ymax'
#: End of a file's name, what its beginning looks like, what it is and what to do.
_BY_CONTENT = (
    ('.txt', r'[A-Za-z_]+( -?[\d.]+){14,15}\s*$', f'labels of KITTI: {_TABLE}'),
    ('.txt', r'imagesource:|gsd:|(-?[\d.]+ ){8}\S+ [012]\s*$',
     f'labels of DOTA, which are turned boxes: {_TABLE}, with the upright box around each'),
    ('.txt', r'\S+\.(jpg|jpeg|png)\s*\n\d+\s*\n(-?\d+ ){4}', f'labels of WIDER FACE: {_TABLE}'),
    ('.txt', r'-?\d+(,-?[\d.]+){7,}\s*$', f'labels of VisDrone or MOT: {_TABLE}'),
    ('.xml', r'[^\0]*<dataset>[^\0]*<box ', f'XML of dlib: {_TABLE}'),
    ('.xml', r'[^\0]*<sequence\b', f'XML of UA-DETRAC: {_TABLE}'),
    ('.json', r'(?=[^\0]*"items")(?=[^\0]*"categories")', f'a project of Datumaro: {_EXPORT}'),
    ('.json', r'[^\0]*"(DataRow|data_row|Labeled Data)"', f'an export of Labelbox: {_EXPORT}'),
    ('.json', r'\s*\[\s*\{(?=[^}]*"score")[^}]*"category_id"',
     'a list of detections (COCO results), not of labels: give the annotation file'),
    ('.csv', r'[^\n]*region_shape_attributes', 'a table of VIA: export its project as JSON'),
    ('.csv', r'[^\n]*PredictionString',
     f'a table with all boxes of an image in one cell: {_TABLE}'),
    ('.csv', r'[^\n,]+\.(jpg|jpeg|png|bmp|tif)([,;][\d.]+){4}',
     'a table without a first line that names its columns: write image, xmin, ymin, xmax, ymax, '
     'class there, in the order of the columns'),
)


def known_elsewhere(data: Path) -> Optional[str]:
    """Return what a data set is that is not read here, and what to do with it."""
    files = [data] if data.is_file() else list(islice(files_below(data), _MOST))
    names = [path.name.lower() for path in files]
    for end, text in _BY_NAME:
        if any(name.endswith(end) or (end == '.tfrecord' and end in name) for name in names):
            return text
    if any(path.name == 'meta.json' for path in files) and any(
            path.parent.name == 'ann' for path in files):
        return f'a project of Supervisely: {_EXPORT}'
    for end, pattern, text in _BY_CONTENT:
        some = [path for path in files if path.suffix.lower() == end][:_FEW]
        if any(re.match(pattern, _beginning(path), re.MULTILINE) for path in some):
            return text
    return None


def _beginning(path: Path) -> str:
    try:
        with open(path, 'rb') as file:
            return file.read(4096).decode('utf-8-sig', 'replace')
    except OSError:
        return ''
