"""Runtimes as their users call them: prepared pixels in, the network's outputs out.

Each function takes the job (see :mod:`.worker`) and the pixels, a list of (1, 3, H, W), and
returns a list of outputs by name. Nothing of mmyolonas is imported but by :func:`session`.
"""
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any, Dict, List

import numpy as np

Feeds, Found = List[np.ndarray], List[Dict[str, np.ndarray]]


def onnxruntime(job: Dict[str, Any], feeds: Feeds) -> Found:
    """``onnxruntime.InferenceSession``."""
    import onnxruntime as ort
    session = ort.InferenceSession(job['file'], providers=['CPUExecutionProvider'])
    names = [item.name for item in session.get_outputs()]
    return [dict(zip(names, session.run(names, {session.get_inputs()[0].name: feed})))
            for feed in feeds]


def node(job: Dict[str, Any], feeds: Feeds) -> Found:
    """``onnxruntime-node`` or ``onnxruntime-web``, by a script in Node."""
    with tempfile.TemporaryDirectory() as folder:
        paths = []
        for index, feed in enumerate(feeds):
            paths.append(f'{folder}/{index}.bin')
            Path(paths[-1]).write_bytes(np.ascontiguousarray(feed).tobytes())
        ask = dict(package=f'{job["node"]}/node_modules/{job["row"]}', file=job['file'],
                   shape=list(feeds[0].shape), feeds=paths, out=folder)
        Path(folder, 'job.json').write_text(json.dumps(ask))
        subprocess.run(['node', str(Path(__file__).with_name('run.js')), f'{folder}/job.json'],
                       check=True)
        described = json.loads(Path(folder, 'result.json').read_text())
        return [{name: np.fromfile(f'{folder}/{index}.{name}', item['type']).reshape(item['shape'])
                 for name, item in outputs.items()} for index, outputs in enumerate(described)]


def openvino(job: Dict[str, Any], feeds: Feeds) -> Found:
    """``openvino.Core``, in 32 bit."""
    import openvino as ov
    model = ov.Core().compile_model(job['file'], 'CPU', {'INFERENCE_PRECISION_HINT': 'f32'})
    found = []
    for feed in feeds:
        values = model([feed])
        found.append({name: np.array(values[model.output(name)]) for name in job['outputs']})
    return found


def opencv(job: Dict[str, Any], feeds: Feeds) -> Found:
    """``cv2.dnn``, one net for all pictures."""
    import cv2
    net, found = cv2.dnn.readNetFromONNX(job['file']), []
    for feed in feeds:
        net.setInput(feed)
        values = net.forward(job['outputs'])
        found.append({name: np.array(value) for name, value in zip(job['outputs'], values)})
    return found


def tvm(job: Dict[str, Any], feeds: Feeds) -> Found:
    """TVM's Relax, from the ONNX file, compiled for this processor."""
    import onnx
    import tvm
    from tvm import relax
    from tvm.relax.frontend.onnx import from_onnx
    module = from_onnx(onnx.load(job['file']), keep_params_in_input=False)
    target = tvm.target.Target({'kind': 'llvm'})
    machine = relax.VirtualMachine(tvm.compile(module, target), tvm.cpu())
    found = []
    for feed in feeds:
        values = machine['main'](tvm.runtime.tensor(feed))
        found.append({name: value.numpy() for name, value in zip(job['outputs'], values)})
    return found


def exported(job: Dict[str, Any], feeds: Feeds) -> Found:
    """``torch.export.load``."""
    import torch
    return _torch(torch.export.load(job['file']).module(), feeds)


def aotinductor(job: Dict[str, Any], feeds: Feeds) -> Found:
    """``aoti_compile_and_package``: machine code, run without Python's part of torch."""
    import torch
    from torch._inductor import aoti_compile_and_package, aoti_load_package
    with tempfile.TemporaryDirectory() as folder:
        package = aoti_compile_and_package(torch.export.load(job['file']),
                                           package_path=f'{folder}/model.pt2')
        return _torch(aoti_load_package(package), feeds)


def jit(job: Dict[str, Any], feeds: Feeds) -> Found:
    """``torch.jit.trace``, saved and loaded."""
    import torch
    program = torch.export.load(job['file']).module()
    with tempfile.TemporaryDirectory() as folder, torch.no_grad():
        traced = torch.jit.trace(program, torch.from_numpy(feeds[0]), strict=False)
        traced.save(f'{folder}/model.pt')
        return _torch(torch.jit.load(f'{folder}/model.pt'), feeds)


def _torch(model: Any, feeds: Feeds) -> Found:
    import torch
    with torch.no_grad():
        return [{name: value.numpy() for name, value in model(torch.from_numpy(feed)).items()}
                for feed in feeds]


def session(job: Dict[str, Any], feeds: Feeds) -> Found:
    """A converted file in the session that ``Runtime`` opens for it."""
    from mmyolonas.runtime import open_session
    with open_session(job['file'], job['target']) as opened:
        return [opened.run({opened.inputs[0].name: feed}) for feed in feeds]
