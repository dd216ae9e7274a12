"""The clients in one table. Only the standard library: every interpreter reads this."""
from dataclasses import dataclass
from typing import Tuple


@dataclass(frozen=True)
class Row:
    """A client, and what it is given.

    Args:
        name (str): Name that ``--only`` takes.
        title (str): What the table calls it.
        flavour (str): ``nms_type`` of the file, or ``'checkpoint'``.
        needs (tuple[str, ...]): Distributions that an interpreter must have; the version of
            the first is printed. ``npm:`` stands for a Node package.
        function (str): ``module:function`` of this package that runs it.
        gives (str): ``'tensors'`` (outputs of the network, decoded by ``Runtime``),
            ``'boxes'`` (rows x1, y1, x2, y2, score, label of each picture), ``'poses'`` (the
            same and the key points), ``'contract'`` (boxes, and pixels that the client feeds),
            ``'counts'`` (right, wanted, found) or ``'file'`` (converted, not run).
        target (str): Recipe of ``configs/deploy`` that makes the file; '' for none.
    """
    name: str
    title: str
    flavour: str
    needs: Tuple[str, ...]
    function: str
    gives: str = 'tensors'
    target: str = ''


#: opencv in its three distributions
OPENCV = ('opencv-python|opencv-python-headless|opencv-contrib-python', )
MMDET, MMPOSE = ('mmdet', 'torch'), ('mmpose', 'mmdet', 'torch')
ROWS = {row.name: row for row in (
    Row('mmdet', 'mmdet.apis.inference_detector', 'checkpoint', MMDET, 'torch_boxes:detector',
        'boxes'),
    Row('detinferencer', 'mmdet DetInferencer', 'checkpoint', MMDET, 'torch_boxes:inferencer',
        'boxes'),
    Row('mmdet-test', 'mmdet tools/test.py', 'checkpoint', MMDET, 'torch_boxes:test_tool', 'boxes'),
    Row('mmdeploy', 'mmdeploy.apis.inference_model', 'onnx', ('mmdeploy', 'mmdet', 'onnxruntime'),
        'torch_boxes:mmdeploy_api', 'boxes'),
    Row('mmposeinferencer', 'MMPoseInferencer', 'checkpoint', MMPOSE, 'poses:inferencer', 'poses'),
    Row('pose2dinferencer', 'Pose2DInferencer', 'checkpoint', MMPOSE, 'poses:pose2d', 'poses'),
    Row('inference_bottomup', 'mmpose.apis.inference_bottomup', 'checkpoint', MMPOSE,
        'poses:bottomup', 'poses'),
    Row('sahi', 'SAHI get_prediction', 'onnx', ('sahi', 'onnxruntime'), 'libraries:sahi_whole',
        'boxes'),
    Row('sahi-sliced', 'SAHI get_sliced_prediction', 'none', ('sahi', 'onnxruntime'),
        'libraries:sahi_sliced', 'counts'),
    Row('sahi-command', 'sahi predict (command line)', 'none', ('sahi', 'onnxruntime'),
        'libraries:sahi_command', 'counts'),
    Row('supervision', 'supervision Detections', 'onnx', ('supervision', 'onnxruntime'),
        'libraries:supervision_whole', 'boxes'),
    Row('supervision-mmdet', 'supervision from_mmdetection', 'checkpoint',
        ('supervision', 'mmdet'), 'libraries:supervision_mmdet', 'boxes'),
    Row('supervision-sliced', 'supervision InferenceSlicer', 'onnx',
        ('supervision', 'onnxruntime'), 'libraries:supervision_sliced', 'counts'),
    Row('trackers', 'trackers ByteTrack on a video', 'onnx',
        ('trackers', 'supervision', 'onnxruntime'), 'libraries:tracked', 'counts'),
    Row('onnxruntime', 'ONNX Runtime, Python', 'none', ('onnxruntime', ), 'tensors:onnxruntime'),
    Row('onnxruntime-nms', 'ONNX Runtime, Python', 'onnx', ('onnxruntime', ),
        'tensors:onnxruntime'),
    Row('onnxruntime-node', 'ONNX Runtime, Node', 'none', ('npm:onnxruntime-node', ),
        'tensors:node'),
    Row('onnxruntime-web', 'ONNX Runtime, web (WebAssembly)', 'none', ('npm:onnxruntime-web', ),
        'tensors:node'),
    Row('openvino', 'OpenVINO, .onnx', 'none', ('openvino', ), 'tensors:openvino'),
    Row('openvino-nms', 'OpenVINO, .onnx', 'onnx', ('openvino', ), 'tensors:openvino'),
    Row('opencv', 'OpenCV dnn', 'none', OPENCV, 'tensors:opencv'),
    Row('opencv-nms', 'OpenCV dnn, suppression in the file', 'onnx', OPENCV, 'tensors:opencv'),
    Row('opencv-free', 'OpenCV dnn, free sides', 'none-free', OPENCV, 'tensors:opencv'),
    Row('ncnn', 'ncnn', 'none', ('ncnn', 'pnnx'), 'tensors:session', target='ncnn'),
    Row('mnn', 'MNN', 'none', ('mnn', ), 'tensors:session', target='mnn'),
    Row('tflite', 'TFLite (LiteRT)', 'none', ('ai-edge-litert', 'onnx2tf'), 'tensors:session',
        target='tflite'),
    Row('tvm', 'TVM', 'none', ('apache-tvm', 'onnx'), 'tensors:tvm'),
    Row('torch.export', 'torch.export', 'program', ('torch', ), 'tensors:exported'),
    Row('aotinductor', 'AOTInductor', 'program', ('torch', ), 'tensors:aotinductor'),
    Row('jit', 'torch.jit', 'program', ('torch', ), 'tensors:jit'),
    Row('executorch', 'ExecuTorch', 'none', ('executorch', ), 'tensors:session',
        target='executorch'),
    Row('coreml', 'Core ML', 'none', ('coremltools', 'torch'), '', 'file', target='coreml'),
    Row('rknn', "RKNN's simulator, 8 bit", 'maps', ('rknn-toolkit2', ), '', 'counts',
        target='rknn'),
    Row('frigate', 'Frigate (model_type yolonas)', 'flat', ('onnxruntime', ), 'contracts:frigate',
        'contract'),
    Row('deepstream', 'DeepStream-Yolo (NvDsInferParseYolo)', 'deepstream', ('onnxruntime', ),
        'contracts:deepstream', 'contract'),
    Row('ultralytics', "Ultralytics' loaders", 'ultralytics', ('onnxruntime', ),
        'contracts:ultralytics', 'contract'),
    Row('maps', 'NPU decoders (PP-YOLOE form)', 'maps', ('onnxruntime', ), 'contracts:maps',
        'contract'),
)}
#: Clients that nothing on PyPI, npm or Debian brings, or that need another machine.
ELSEWHERE = (
    ('TensorRT 8.6, 10, 11', 'needs an NVIDIA GPU'), ('TensorRT-RTX', 'needs an NVIDIA GPU; built '
                                                      'by benchmarks/build_engines.py'),
    ('Frigate, DeepStream-Yolo themselves', 'containers; what they read is re-typed above'),
    ('RK3588 and other NPUs', 'the board; its simulator is above'),
    ('Core ML on a device', 'needs macOS or iOS'), ('ncnn, MNN, TFLite on a phone', 'the phone'),
)
