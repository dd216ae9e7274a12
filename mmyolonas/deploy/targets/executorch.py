"""ExecuTorch, by its own exporter, lowered to XNNPACK (CPUs of phones and computers)."""
import os

from mmyolonas.deploy.targets.job import Converted, Job, versions
from mmyolonas.utils.optional import require


def convert(job: Job) -> Converted:
    """Write ``.pte``.

    Args:
        job (Job): What to convert.

    Returns:
        Converted: The file.

    Raises:
        ImportError: executorch is not installed.
    """
    torch = require('torch', 'Converting to ExecuTorch')
    exir = require('executorch.exir', 'Converting to ExecuTorch')
    xnnpack = require('executorch.backends.xnnpack.partition.xnnpack_partitioner',
                      'Converting to ExecuTorch')
    program = torch.export.load(job.source)
    lowered = exir.to_edge_transform_and_lower(
        program, partitioner=[xnnpack.XnnpackPartitioner()]).to_executorch()
    name = f'{job.stem}.pte'
    with open(os.path.join(job.folder, name), 'wb') as file:
        file.write(lowered.buffer)
    return Converted([name], versions('executorch', 'torch'))
