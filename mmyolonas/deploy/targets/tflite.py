"""TensorFlow Lite, by onnx2tf. It takes minutes.

onnx2tf fetches pictures from the internet to compare its own steps on; it is given drawn ones.
"""
import os
import shutil

import numpy as np

from mmyolonas.deploy.targets.job import Converted, Job, versions
from mmyolonas.utils.optional import require


def convert(job: Job) -> Converted:
    """Write ``.tflite`` in 32 bit, and one with 16-bit weights.

    Args:
        job (Job): What to convert.

    Returns:
        Converted: The files.

    Raises:
        ImportError: onnx2tf is not installed.
        ValueError: It failed.
    """
    require('onnx2tf', 'Converting to TFLite')
    steps = require('onnx2tf.onnx2tf', 'Converting to TFLite')
    sample = np.random.default_rng(0).random((20, 128, 128, 3), np.float32)
    steps.download_test_image_data = lambda: sample
    saved = os.path.join(job.folder, 'saved_model')
    steps.convert(input_onnx_file_path=os.path.abspath(job.source), output_folder_path=saved,
                  copy_onnx_input_output_names_to_tflite=True, non_verbose=True)
    name, files = os.path.splitext(os.path.basename(job.source))[0], []
    for kind, suffix in (('float32', '.tflite'), ('float16', '_float16.tflite')):
        made = os.path.join(saved, f'{name}_{kind}.tflite')
        if os.path.exists(made):
            shutil.move(made, os.path.join(job.folder, job.stem + suffix))
            files.append(job.stem + suffix)
    if f'{job.stem}.tflite' not in files:
        raise ValueError('onnx2tf wrote no model')
    return Converted(files, versions('onnx2tf', 'tensorflow', 'tensorflow_cpu',
                                     'ai-edge-litert'))
