"""Rockchip's NPUs, by RKNN-Toolkit2.

Its 8 bit ruins decoded boxes, so it takes the maps; it normalises, so the NPU takes raw pixels
in the network's order of channels. The toolkit's simulator runs what it has built.
"""
import json
import os

import numpy as np

from mmyolonas.deploy.targets.job import Converted, Job, versions
from mmyolonas.utils.optional import require


def convert(job: Job) -> Converted:
    """Write ``.rknn``, in 8 bit if ``quantize``, else in 16.

    Args:
        job (Job): What to convert.

    Returns:
        Converted: The file, and the simulator's outputs.

    Raises:
        ImportError: rknn-toolkit2 is not installed.
        ValueError: It failed.
    """
    api = require('rknn.api', 'Converting to RKNN')
    platform, quantize = job.options.get('target_platform', 'rk3588'), job.options.get('quantize')
    how = json.loads(job.side_car.props['preprocess'])
    kit = api.RKNN(verbose=False)

    def call(name: str, *args: object, **kwargs: object) -> None:
        if getattr(kit, name)(*args, **kwargs):
            raise ValueError(f'rknn-toolkit2 failed in {name}')

    call('config', mean_values=[how['mean']], std_values=[how['std']], target_platform=platform)
    call('load_onnx', model=os.path.abspath(job.source))
    images = os.path.join(job.folder, 'calibration.txt')
    with open(images, 'w', encoding='utf-8') as file:
        file.write('\n'.join(job.calibration) + '\n')
    call('build', do_quantization=bool(quantize), dataset=images if quantize else None)
    name = f'{job.stem}.rknn'
    call('export_rknn', os.path.join(job.folder, name))
    call('init_runtime')
    mean, std = (np.array(how[key], np.float32).reshape(1, 3, 1, 1) for key in ('mean', 'std'))
    outputs = []
    for image in job.images():
        raw = np.clip(np.rint(image * std + mean), 0, 255).astype(np.uint8)
        outputs.append([np.asarray(value, np.float32) for value in kit.inference(
            inputs=[np.ascontiguousarray(raw.transpose(0, 2, 3, 1))], data_format=['nhwc'])])
    kit.release()
    how.update(mean=[0.] * 3, std=[1.] * 3)  # the file does it
    job.side_car.props['preprocess'] = json.dumps(how)
    job.side_car.inputs[0].dtype = 'uint8'
    return Converted([name], versions('rknn-toolkit2'), outputs)
