"""``python -m mmyolonas.deploy.targets JOB RESULT``: convert, describe, run; see :mod:`.job`."""
import importlib
import json
import os
import sys
import traceback
from typing import Any, Dict

import numpy as np

from mmyolonas.deploy.targets.job import Job
from mmyolonas.deploy.targets.table import TARGETS
from mmyolonas.runtime import open_session
from mmyolonas.runtime.side_car import SideCar, Tensor, write_side_car
from mmyolonas.utils.files import read_json, write_json


def read_job(path: str) -> Job:
    """Read a job from the driver."""
    values = read_json(path, 'a job of the converters')
    side_car = values.pop('side_car')
    tensors = {key: [Tensor(**item) for item in side_car[key]] for key in ('inputs', 'outputs')}
    return Job(side_car=SideCar(side_car['props'], **tensors), **values)


def work(job: Job) -> Dict[str, Any]:
    """Convert and run; return the files, versions and the file of outputs."""
    target = TARGETS[job.target]
    recipe = importlib.import_module(f'mmyolonas.deploy.targets.{job.target}')
    made = recipe.convert(job)
    model = os.path.join(job.folder, made.files[0])
    if not model.endswith('.onnx'):  # which has its description inside
        made.files.append(os.path.basename(write_side_car(model, job.side_car)))
    outputs, reason = made.outputs, ''
    if outputs is None and target.runner == 'session' and job.feeds:
        try:
            outputs = run(model, job)
        except ImportError as error:
            reason = str(error)
    result = dict(files=made.files, versions=made.versions, reason=reason, outputs='')
    if outputs:
        result['outputs'] = os.path.join(job.folder, 'outputs.npz')
        np.savez(result['outputs'], **{f'{index}.{number}': value
                                       for index, values in enumerate(outputs)
                                       for number, value in enumerate(values)})
    return result


def run(model: str, job: Job) -> list:
    """Return the outputs of the converted file for each image, in order."""
    with open_session(model, job.target) as session:
        name = session.inputs[0].name
        return [list(session.run({name: image}).values()) for image in job.images()]


def main() -> None:
    """Run one job; what goes wrong is told in the result."""
    job_path, result_path = sys.argv[1:]
    try:
        result = work(read_job(job_path))
    except Exception as error:  # converters raise anything
        traceback.print_exc()
        lines = str(error).split('\n')
        kind = '' if isinstance(error, (ImportError, ValueError)) else f'{type(error).__name__}: '
        result = dict(error=kind + ' '.join(lines[:3])[:600])
    write_json(result_path, json.loads(json.dumps(result)))


if __name__ == '__main__':
    main()
