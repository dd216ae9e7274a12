"""ncnn, by pnnx. ``fp16=0``: 16-bit weights move boxes by pixels; pnnx needs the shape."""
import os
import shutil
import subprocess

from mmyolonas.deploy.targets.job import Converted, Job, versions
from mmyolonas.utils.optional import require


def convert(job: Job) -> Converted:
    """Write ``.ncnn.param`` and ``.ncnn.bin``.

    Args:
        job (Job): What to convert.

    Returns:
        Converted: The files.

    Raises:
        ImportError: pnnx is not installed.
        ValueError: It failed.
    """
    pnnx = require('pnnx', 'Converting to ncnn')
    shutil.copyfile(job.source, os.path.join(job.folder, f'{job.stem}.onnx'))
    shape = ','.join(map(str, job.side_car.inputs[0].shape))
    done = subprocess.run(
        [pnnx.EXEC_PATH, f'{job.stem}.onnx', f'inputshape=[{shape}]f32',
         f'fp16={int(bool(job.options.get("fp16", False)))}'], cwd=job.folder, check=False)
    files = [f'{job.stem}.ncnn.param', f'{job.stem}.ncnn.bin']
    if done.returncode or not all(os.path.exists(os.path.join(job.folder, f)) for f in files):
        raise ValueError(f'pnnx ended with {done.returncode} and wrote no model')
    return Converted(files, versions('pnnx', 'ncnn'))
