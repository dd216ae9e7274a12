"""Core ML, by coremltools. It converts on any system and runs on Apple's alone."""
import os

from mmyolonas.deploy.targets.job import Converted, Job, versions
from mmyolonas.utils.optional import require


def convert(job: Job) -> Converted:
    """Write ``.mlpackage``, in 32 bit unless ``fp16``, with names and description.

    Args:
        job (Job): What to convert.

    Returns:
        Converted: The folder.

    Raises:
        ImportError: coremltools is not installed.
    """
    torch = require('torch', 'Converting to Core ML')
    tools = require('coremltools', 'Converting to Core ML')
    program = torch.export.load(job.source).run_decompositions({})
    half = job.options.get('fp16', False)
    model = tools.convert(
        program, convert_to='mlprogram', minimum_deployment_target=tools.target.iOS16,
        outputs=[tools.TensorType(name=item.name) for item in job.side_car.outputs],
        compute_precision=tools.precision.FLOAT16 if half else tools.precision.FLOAT32)
    model.user_defined_metadata.update(job.side_car.props)
    name = f'{job.stem}.mlpackage'
    model.save(os.path.join(job.folder, name))
    spec = model.get_spec().description
    got = [item.name for item in spec.output]
    if got != [item.name for item in job.side_car.outputs]:
        raise ValueError(f'coremltools calls the outputs {got}')
    job.side_car.inputs[0].name = spec.input[0].name
    return Converted([name], versions('coremltools', 'torch'))
