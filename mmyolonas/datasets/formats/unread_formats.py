"""Formats that are not read, by their files: their names and the way out."""
from itertools import islice
from pathlib import Path
from typing import Optional

from mmyolonas.datasets.formats.walking import files_below

_MOST = 2000  # files looked at
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
    ('.ndjson', f'an export of Labelbox: {_EXPORT}'),
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
    return None
