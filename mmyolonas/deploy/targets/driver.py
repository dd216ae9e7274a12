"""Runs a converter in a process of its own, takes its files over and compares them."""
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, List, Optional, Sequence, Tuple

import numpy as np

import mmyolonas
from mmyolonas.deploy.targets.job import Job
from mmyolonas.deploy.targets.parity import (
    LEAST,
    NEAR_IOU,
    NEAR_SCORE,
    Parity,
    lines,
    same_boxes,
)
from mmyolonas.deploy.targets.table import TARGETS, Target
from mmyolonas.runtime.runtime import Runtime
from mmyolonas.runtime.side_car import SideCar, tensors
from mmyolonas.utils.errors import UserError
from mmyolonas.utils.files import file_digest, read_json, write_image, write_json
from mmyolonas.utils.images import find_images

#: Pictures of the command line that the files are compared on, at most.
MOST_IMAGES = 16


def check_target(config: Any, nms: str, has_program: bool = True) -> Target:
    """Return the target of a deploy config, before the work.

    Args:
        config (Config): ``backend_config``.
        nms (str): ``nms_type``.
        has_program (bool): Whether a checkpoint is exported, not a file given.

    Raises:
        UserError: The parts do not go together, or the converter's interpreter or the
            calibration images are not there.
    """
    target = TARGETS[config.type]
    if nms not in target.flavours:
        raise UserError(f'{target.name} takes nms_type {" or ".join(target.flavours)}, got '
                        f'{nms!r}: set codebase_config.post_processing.nms_type.')
    if target.source == 'program' and not has_program:
        raise UserError(f'{target.name} is made of the checkpoint by torch.export, not of an ONNX '
                        'file: leave --onnx out.')
    python = config.get('python')
    if python and not shutil.which(python):
        raise UserError(f"the converter's interpreter {python} does not exist or cannot be run; "
                        'give the python of the environment that has the converter.')
    if config.get('calib_images'):
        find_images([config.calib_images])
    return target


def convert_target(config: Any, onnx_path: str, work_dir: str, program: Optional[str] = None,
                   images: Sequence[str] = ()) -> Tuple[List[str], List[str]]:
    """Convert a file for a further runtime and compare what both find.

    Args:
        config (Config): ``backend_config``: ``type``, ``python`` and the recipe's options.
        onnx_path (str): ONNX file with its description, of fixed shape.
        work_dir (str): Folder to write to.
        program (str, optional): The same network as a ``torch.export`` program.
        images (Sequence[str]): Pictures to compare on, and to calibrate with if the config
            names no others.

    Returns:
        tuple[list[str], list[str]]: Files (the runtime loads the first), and lines to print.

    Raises:
        UserError: The converter failed, or is not installed.
        ValueError: The file does not fit.
    """
    options = {key: value for key, value in config.items() if key not in ('type', 'python')}
    target, stem = TARGETS[config.type], os.path.splitext(os.path.basename(onnx_path))[0]
    images = list(images)[:MOST_IMAGES]
    os.makedirs(work_dir, exist_ok=True)
    with Runtime(onnx_path, 'onnxruntime') as reference, tempfile.TemporaryDirectory(
            prefix='.converting-', dir=work_dir) as folder:
        side_car = _side_car(reference, onnx_path)
        prepared = [reference.preprocess([image]) for image in images]
        job = Job(target.name, os.path.abspath(
            program if target.source == 'program' and program else onnx_path),
            os.path.join(os.path.abspath(folder), 'made'), stem, side_car, options)
        os.makedirs(job.folder)
        if prepared:
            job.feeds = os.path.join(os.path.abspath(folder), 'feeds.npz')
            np.savez(job.feeds, **{str(i): blob for i, (blob, _) in enumerate(prepared)})
        said = []
        if options.get('quantize'):
            job.calibration = _calibration(options.get('calib_images'), images, reference, folder)
            said.append(f'8 bit, ranges from {len(job.calibration)} image(s)' + (
                '' if options.get('calib_images') else ' of the command line: give a few dozen as '
                'backend_config.calib_images'))
        log = os.path.join(work_dir, f'{stem}.{target.name}.log')
        result = _run(job, config.get('python') or sys.executable, folder, log)
        said.append(f'{target.name}: converted with ' + ', '.join(
            f'{name} {version}' for name, version in result['versions'].items()))
        if result['outputs']:
            parities = _compare(reference, prepared, images, result['outputs'])
            said += lines(parities, target.name)
        elif not target.runner:
            said.append(f'{target.name} does not run here, so nothing was compared: it runs '
                        f'{target.elsewhere}.')
        else:
            said.append(f'{target.name}: not compared. {result["reason"]}'.rstrip())
        files = _take(job.folder, result['files'], work_dir)
    return files, said


def _side_car(reference: Runtime, path: str) -> SideCar:
    inputs, outputs = (tensors(infos) for infos in (
        reference.session.inputs, reference.session.outputs))
    if inputs is None or outputs is None:
        raise ValueError(f'{path} has free sides; these converters take a fixed shape: take a '
                         'deploy config without dynamic_axes.')
    return SideCar(dict(reference.session.props), inputs, outputs)


def _calibration(folder: Optional[str], images: Sequence[str], reference: Runtime,
                 scratch: str) -> List[str]:
    """Write letterboxed pictures whose RGB channels are the network's; return the files."""
    sources = find_images([folder]) if folder else [Path(image) for image in images]
    if not sources:
        raise UserError('8 bit needs pictures to find ranges: give a folder as '
                        'backend_config.calib_images.')
    how = reference.preprocessing
    mean, std = (np.array(value, np.float32).reshape(3, 1, 1) for value in (how.mean, how.std))
    written = []
    for index, source in enumerate(sources):
        blob, _ = reference.preprocess([str(source)])
        raw = np.clip(np.rint(blob[0] * std + mean), 0, 255).astype(np.uint8)
        path = os.path.join(os.path.abspath(scratch), f'calibration_{index:05d}.png')
        write_image(path, np.ascontiguousarray(raw.transpose(1, 2, 0)[..., ::-1]))
        written.append(path)
    return written


def _run(job: Job, python: str, scratch: str, log: str) -> Dict[str, Any]:
    job_path, result_path = (os.path.join(scratch, name) for name in ('job.json', 'result.json'))
    write_json(job_path, asdict(job))
    root = str(Path(mmyolonas.__file__).resolve().parent.parent)
    env = dict(os.environ, PYTHONPATH=os.pathsep.join(
        filter(None, [root, os.environ.get('PYTHONPATH')])))
    with open(log, 'wb') as file:
        done = subprocess.run([python, '-m', 'mmyolonas.deploy.targets', job_path, result_path],
                              stdout=file, stderr=subprocess.STDOUT, env=env, check=False)
    if not os.path.exists(result_path):
        raise UserError(f'the converter for {job.target} ended with {done.returncode} and no '
                        f'result; what it printed is in {log}.')
    result = read_json(result_path, 'the result of a converter')
    if 'error' in result:
        raise UserError(f'{job.target}: {result["error"].rstrip(".")}. What was printed is in '
                        f'{log}.')
    os.unlink(log)
    return result


def _compare(reference: Runtime, prepared: Sequence[tuple], images: Sequence[str],
             path: str) -> List[Parity]:
    names = [info.name for info in reference.session.outputs]
    found = []
    with np.load(path, allow_pickle=False) as stored:
        for index, (image, (blob, ways)) in enumerate(zip(images, prepared)):
            expected = reference.infer(blob)
            outputs = {name: stored[f'{index}.{number}'].reshape(expected[name].shape)
                       for number, name in enumerate(names)}
            whole, wanted = (reference.postprocess(values, ways)[0]
                             for values in (outputs, expected))
            wanted = wanted.above(LEAST)
            mine, theirs = ((item.boxes, item.scores, item.labels) for item in (whole, wanted))
            found.append(Parity(
                image, {name: float(np.abs(outputs[name] - expected[name]).max())
                        for name in names},
                same_boxes(*mine, theirs), len(wanted), len(whole.above(LEAST)),
                same_boxes(*mine, theirs, NEAR_IOU, NEAR_SCORE)))
    return found


def _take(folder: str, names: Sequence[str], work_dir: str) -> List[str]:
    """Move files to their place, the one that is loaded last."""
    paths = []
    for name in names[::-1]:
        source, target = os.path.join(folder, name), os.path.join(work_dir, name)
        same = os.path.isfile(source) and os.path.isfile(target) and (
            file_digest(source) == file_digest(target))
        if not same:
            if os.path.isdir(target) and not os.path.islink(target):
                shutil.rmtree(target)  # a package of the same name, from before
            os.replace(source, target)
        paths.append(target)
    return paths[::-1]
