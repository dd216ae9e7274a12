"""OpenCV reads the ONNX file as it is; what is to do is to try it."""
import os
import shutil

from mmyolonas.deploy.targets.job import Converted, Job
from mmyolonas.utils.optional import require


def convert(job: Job) -> Converted:
    """Copy the file.

    Args:
        job (Job): What to convert.

    Returns:
        Converted: The file.

    Raises:
        ImportError: OpenCV is not installed.
    """
    cv2 = require('cv2', 'Trying the file')
    name = f'{job.stem}.onnx'
    shutil.copyfile(job.source, os.path.join(job.folder, name))
    return Converted([name], {'opencv': cv2.__version__})
