"""MNN, by its converter.

Its command ``mnnconvert`` installs a package and reports to its makers; the function behind
it does neither.
"""
import os
import subprocess
import sys

from mmyolonas.deploy.targets.job import Converted, Job, versions
from mmyolonas.utils.optional import require


def convert(job: Job) -> Converted:
    """Write ``.mnn``.

    Args:
        job (Job): What to convert.

    Returns:
        Converted: The file.

    Raises:
        ImportError: MNN is not installed.
        ValueError: It failed.
    """
    require('MNN', 'Converting to MNN')
    name = f'{job.stem}.mnn'
    command = ['mnnconvert', '-f', 'ONNX', '--modelFile', os.path.abspath(job.source),
               '--MNNModel', name, '--bizCode', 'mmyolonas']
    if job.options.get('fp16'):
        command.append('--fp16')
    # a process of its own: it ends the one it runs in when it fails
    done = subprocess.run(
        [sys.executable, '-c', 'import MNN, sys, _tools; _tools.mnnconvert(sys.argv[1:])',
         *command], cwd=job.folder, check=False)
    if done.returncode or not os.path.exists(os.path.join(job.folder, name)):
        raise ValueError(f'mnnconvert ended with {done.returncode} and wrote no model')
    return Converted([name], versions('MNN'))
