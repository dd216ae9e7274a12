"""Import of optional packages with the command that installs them."""
import importlib
from types import ModuleType

INSTALL = {
    'onnx': 'pip install onnx',
    'onnx_ir': 'pip install onnx-ir',
    'onnxruntime': 'pip install onnxruntime',
    'onnxslim': 'pip install onnxslim',
    'openvino': 'pip install openvino',
    'tensorrt': 'pip install tensorrt',
    'tensorrt_rtx': 'pip install tensorrt-rtx-cu12',
    'mmdeploy': 'pip install --no-deps mmdeploy && '
                'pip install aenum terminaltables prettytable multiprocess',
    'mmdeploy_runtime': 'pip install mmdeploy-runtime',
    'mmpose': 'pip install --no-deps mmpose && pip install json-tricks munkres xtcocotools',
    'MNN': 'pip install MNN',
    'ai_edge_litert': 'pip install ai-edge-litert',
    'coremltools': 'pip install coremltools',
    'executorch': 'pip install executorch',
    'fastapi': 'pip install fastapi uvicorn',
    'ncnn': 'pip install ncnn',
    'onnx2tf': 'pip install onnx2tf tensorflow-cpu tf_keras onnx_graphsurgeon sng4onnx '
               'ai-edge-litert',
    'pnnx': 'pip install pnnx',
    'rknn': 'pip install rknn-toolkit2',
    'cv2': 'pip install opencv-python-headless',
}


def require(name: str, purpose: str) -> ModuleType:
    """Import an optional package.

    Args:
        name (str): Import name.
        purpose (str): What needs it, for the message.

    Raises:
        ImportError: The package is missing; the message has the command that
            installs it.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        command = INSTALL.get(name.split('.')[0], f'pip install {name}')
        raise ImportError(
            f'{purpose} needs the package {name!r}, which cannot be imported ({error}). '
            f'Install it with: {command}') from error
