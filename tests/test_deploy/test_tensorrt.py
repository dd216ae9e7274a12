"""Engines: TensorRT-RTX for real, TensorRT 8.6 to 11 and CUDA by stand-ins."""
import ctypes
import json
import os
from types import SimpleNamespace

import numpy as np
import onnx
import pytest

from mmyolonas.deploy import EngineOptions, build_engine
from mmyolonas.export import get_metadata
from mmyolonas.export.metadata import ModelMetadata
from mmyolonas.runtime.cuda import Cuda
from mmyolonas.runtime.tensorrt_api import TensorRTApi
from mmyolonas.runtime.tensorrt_session import TensorRTSession
from tests.quantise import quantise

PROFILE = dict(min_shape=[1, 3, 96, 128], opt_shape=[1, 3, 96, 128], max_shape=[4, 3, 96, 128])


@pytest.fixture(scope='module')
def rtx():
    """Skip where TensorRT-RTX is not installed."""
    return pytest.importorskip('tensorrt_rtx')


def build(onnx_path, tmp_path, **kwargs):
    """Build an engine with TensorRT-RTX."""
    options = EngineOptions(**kwargs)
    return build_engine(onnx_path, str(tmp_path / 'm.engine'), 'tensorrt_rtx', options)


@pytest.mark.parametrize('task, precision', [
    ('detection', 'fp32'), ('detection', 'fp16'), ('detection', 'int8'),
    ('detection', 'int8_fp16'), ('pose', 'fp16')])
def test_engines_build_without_a_gpu(rtx, zoo, tmp_path, task, precision):
    path = zoo.file(task, 'none')
    if precision.startswith('int8'):
        path = quantise(path, str(tmp_path / 'q.onnx'))
    info = build(path, tmp_path, precision=precision)
    assert info.size == os.path.getsize(info.path) > 10000 and not info.cached
    with open(f'{info.path}.json', encoding='utf-8') as file:
        side_car = json.load(file)
    assert ModelMetadata.from_props(side_car).task == task
    assert json.loads(side_car['build'])['precision'] == precision


def test_dynamic_batch_needs_a_profile_that_fits(rtx, zoo, tmp_path):
    path = zoo.file('detection', 'none', 'batch')
    assert build(path, tmp_path, **PROFILE).num_layers > 50
    with pytest.raises(ValueError, match='give min_shape'):
        build(path, tmp_path)
    with pytest.raises(ValueError, match='does not fit input'):
        build(path, tmp_path, **{**PROFILE, 'max_shape': [4, 3, 128, 128]})
    with pytest.raises(ValueError, match='fixed input shape'):
        build(zoo.file('detection', 'none'), tmp_path, **PROFILE)


def test_engine_is_kept_while_nothing_changes(rtx, zoo, tmp_path):
    path = zoo.file('detection', 'none')
    first = build(path, tmp_path)
    again = build(path, tmp_path)
    assert again.cached and again.seconds == 0 and again.size == first.size
    assert not build(path, tmp_path, precision='fp16').cached
    assert not build(path, tmp_path).cached  # the file holds another precision now
    model = onnx.load(path)
    model.doc_string = 'another content'
    other = str(tmp_path / 'other.onnx')
    onnx.save(model, other)
    assert not build(other, tmp_path).cached
    with open(first.path, 'ab') as file:
        file.write(b'x')
    assert not build(other, tmp_path).cached  # somebody wrote into it


def test_suppression_is_parsed_but_not_built(rtx, zoo, tmp_path):
    with pytest.raises(RuntimeError, match='no kernel for NonMaxSuppression'):
        build(zoo.file('detection', 'onnx'), tmp_path)
    with pytest.raises(RuntimeError, match='no EfficientNMS plugin'):
        build(zoo.file('detection', 'efficient_nms'), tmp_path)
    assert not os.listdir(tmp_path)


@pytest.mark.parametrize('task', ['detection', 'pose'])
def test_suppression_parses(rtx, zoo, task):
    api = TensorRTApi('tensorrt_rtx')
    network = api.create_network(rtx.Builder(api.logger))
    parser = rtx.OnnxParser(network, api.logger)
    with open(zoo.file(task, 'onnx'), 'rb') as file:
        assert parser.parse(file.read()), parser.get_error(0).desc()
    assert network.num_outputs == 2


def test_precision_and_file_must_agree(rtx, zoo, tmp_path):
    path = zoo.file('detection', 'none')
    with pytest.raises(ValueError, match='takes a quantised ONNX file'):
        build(path, tmp_path, precision='int8')
    quantised = quantise(path, str(tmp_path / 'q.onnx'))
    with pytest.raises(ValueError, match='QuantizeLinear nodes'):
        build(quantised, tmp_path, precision='fp16')
    with pytest.raises(ValueError, match='precision must be one of'):
        EngineOptions(precision='fp8')
    with pytest.raises(FileNotFoundError, match='no such ONNX file'):
        build(str(tmp_path / 'nowhere.onnx'), tmp_path)
    with pytest.raises(ValueError, match='cannot build for'):
        build(path, tmp_path, capability='sm1')
    with pytest.raises(ValueError, match='backend must be one of'):
        TensorRTApi('tensort')


def test_missing_package_has_its_command(monkeypatch):
    import sys
    monkeypatch.setitem(sys.modules, 'tensorrt', None)
    with pytest.raises(ImportError, match='pip install tensorrt'):
        TensorRTApi('tensorrt')


# ------------------------------------------------------------- stand-ins
class Named(SimpleNamespace):
    """An enumeration or a class of a package."""


def package(version, strongly_typed, flags):
    """Return a stand-in for a tensorrt package."""

    class ILogger:
        ERROR, INTERNAL_ERROR = 1, 0

    class IProfiler:
        pass

    creation = {'EXPLICIT_BATCH': 0}
    if strongly_typed:
        creation['STRONGLY_TYPED'] = 1
    return Named(
        __version__=version, ILogger=ILogger, IProfiler=IProfiler, float32='float32',
        NetworkDefinitionCreationFlag=Named(**creation), BuilderFlag=Named(**flags),
        TensorIOMode=Named(INPUT='in', OUTPUT='out'), nptype=np.dtype,
        MemoryPoolType=Named(WORKSPACE='workspace'),
        init_libnvinfer_plugins=lambda logger, name: True)


class Config:
    """A builder configuration that notes its flags."""

    def __init__(self):
        self.flags = []

    def set_flag(self, flag):
        """Note a flag."""
        self.flags.append(flag)


class Builder:
    """A builder that notes how the network was asked for."""

    def create_network(self, flags):
        """Return the flags."""
        return flags


def test_networks_are_strongly_typed_from_version_10_on():
    old = TensorRTApi('tensorrt', package('8.6.1', False, dict(FP16='fp16', INT8='int8',
                                                               OBEY_PRECISION_CONSTRAINTS='o')))
    ten = TensorRTApi('tensorrt', package('10.9', True, dict(FP16='fp16', INT8='int8')))
    eleven = TensorRTApi('tensorrt', package('11.4', True, {}))
    bare = package('11.9', False, {})
    bare.NetworkDefinitionCreationFlag = Named()
    later = TensorRTApi('tensorrt', bare)
    assert [api.strongly_typed for api in (old, ten, eleven, later)] == [False, True, True, True]
    assert [api.create_network(Builder()) for api in (old, ten, eleven, later)] == [1, 2, 2, 0]


def test_version_8_6_takes_flags_and_pins_decoding():
    api = TensorRTApi('tensorrt', package('8.6.1', False, dict(
        FP16='fp16', INT8='int8', OBEY_PRECISION_CONSTRAINTS='obey')))

    class Layer:
        num_outputs, precision = 1, None

        def __init__(self, name, dtype):
            self.name, self.dtype = name, dtype

        def get_output(self, index):
            return Named(dtype=self.dtype)

    layers = [Layer('backbone.Conv', 'float32'), Layer('decode.Exp', 'float32'),
              Layer('nms.Cast', 'int32')]
    network = Named(num_layers=3, get_layer=lambda index: layers[index])
    config = Config()
    api.set_precision(network, config, 'int8_fp16', ['decode.Exp', 'nms.Cast'])
    assert config.flags == ['fp16', 'obey', 'int8']
    assert [layer.precision for layer in layers] == [None, 'float32', None]
    config = Config()
    api.set_precision(network, config, 'fp32', [])
    assert config.flags == []


class CudaLibrary:
    """CUDA's run-time library on the host's memory."""

    def __init__(self, devices=1):
        self.devices, self.buffers, self.freed, self.synchronised = devices, {}, [], 0

    def cudaGetDeviceCount(self, count):
        count._obj.value = self.devices
        return 0

    def cudaSetDevice(self, device):
        return 0

    def cudaStreamCreate(self, stream):
        stream._obj.value = 77
        return 0

    def cudaStreamDestroy(self, stream):
        return 0

    def cudaStreamSynchronize(self, stream):
        self.synchronised += 1
        return 0

    def cudaMalloc(self, address, size):
        if size.value > 1 << 30:
            return 2
        buffer = ctypes.create_string_buffer(size.value)
        address._obj.value = ctypes.addressof(buffer)
        self.buffers[ctypes.addressof(buffer)] = buffer
        return 0

    def cudaFree(self, address):
        self.freed.append(self.buffers.pop(address.value))
        return 0

    def cudaMemcpyAsync(self, target, source, size, kind, stream):
        ctypes.memmove(target.value, source.value, size.value)
        return 0


class Engine:
    """An engine that doubles its input: (B, 2), B from 1 to 3."""

    num_io_tensors = 2

    def get_tensor_name(self, index):
        return ('input', 'double')[index]

    def get_tensor_shape(self, name):
        return (-1, 2)

    def get_tensor_dtype(self, name):
        return 'float32'

    def get_tensor_mode(self, name):
        return dict(input='in', double='out')[name]

    def get_tensor_profile_shape(self, name, profile):
        return (1, 2), (1, 2), (3, 2)

    def create_execution_context(self):
        return Context()


class Context:
    """Runs :class:`Engine`."""

    profiler = None

    def __init__(self):
        self.shape, self.addresses = None, {}

    def set_input_shape(self, name, shape):
        self.shape = shape

    def set_tensor_address(self, name, address):
        self.addresses[name] = address

    def get_tensor_shape(self, name):
        return self.shape

    def execute_async_v3(self, stream):
        assert stream == 77
        count = int(np.prod(self.shape))
        kind = ctypes.c_float * count
        source = kind.from_address(self.addresses['input'])
        target = kind.from_address(self.addresses['double'])
        target[:] = [2 * value for value in source]
        if self.profiler is not None:
            self.profiler.report_layer_time('layer', 0.25)
        return True


@pytest.fixture
def session(tmp_path):
    """Return a session over the stand-ins."""
    path = tmp_path / 'm.engine'
    path.write_bytes(b'plan')
    meta = ModelMetadata(class_names=['a'])
    (tmp_path / 'm.engine.json').write_text(json.dumps(meta.to_props()))
    module = package('10.9', True, {})
    module.Runtime = lambda logger: Named(deserialize_cuda_engine=lambda plan: Engine())
    library = CudaLibrary()
    made = TensorRTSession(str(path), api=TensorRTApi('tensorrt', module),
                           cuda=Cuda(0, library))
    made.library = library
    return made


def test_session_runs_and_reuses_its_buffers(session):
    for batch in (1, 3, 2):
        array = np.arange(2 * batch, dtype=np.float32).reshape(batch, 2)
        assert np.array_equal(session.run({'input': array})['double'], 2 * array)
    assert session.metadata.class_names == ['a']
    assert session.library.synchronised == 3
    assert len(session.library.freed) == 2  # grown once each
    session.close()
    assert not session.library.buffers


def test_session_reports_layer_times(session):
    array = np.ones((1, 2), np.float32)
    assert session.layer_times({'input': array}, repeats=4) == [('layer', 0.25)]


def test_session_refuses_what_the_profile_does_not_cover(session):
    with pytest.raises(ValueError, match="outside the engine's profile"):
        session.run({'input': np.ones((4, 2), np.float32)})
    with pytest.raises(ValueError, match='takes the shape'):
        session.run({'input': np.ones((1, 3), np.float32)})
    with pytest.raises(TypeError, match='takes float32, got float64'):
        session.run({'input': np.ones((1, 2))})
    with pytest.raises(KeyError, match='takes the inputs'):
        session.run({'image': np.ones((1, 2), np.float32)})


def test_no_gpu_is_said(tmp_path):
    with pytest.raises(RuntimeError, match='needs an NVIDIA GPU'):
        Cuda(0, CudaLibrary(devices=0))
    with pytest.raises(RuntimeError, match='there is no GPU 1'):
        Cuda(1, CudaLibrary())
    with pytest.raises(RuntimeError, match='CUDA error 2'):
        Cuda(0, CudaLibrary()).allocate(1 << 31)


def test_engine_of_another_version_is_explained(tmp_path):
    path = tmp_path / 'm.engine'
    path.write_bytes(b'plan')
    module = package('10.9', True, {})
    module.Runtime = lambda logger: Named(deserialize_cuda_engine=lambda plan: None)
    with pytest.raises(RuntimeError, match='build it again'):
        TensorRTSession(str(path), api=TensorRTApi('tensorrt', module),
                        cuda=Cuda(0, CudaLibrary()))


@pytest.mark.slow
@pytest.mark.parametrize('arch, task', [('s', 'detection'), ('n', 'pose')])
def test_published_sizes_build(rtx, tmp_path, arch, task):
    from mmengine.registry import MODELS
    from torch import nn

    from mmyolonas.export import export_onnx
    model = nn.Module()
    eps = dict(type='BN', eps=1e-3 if task == 'detection' else 1e-6)
    model.backbone = MODELS.build(
        dict(type='mmyolonas.YOLONASBackbone', arch=arch, norm_cfg=eps))
    model.neck = MODELS.build(dict(type='mmyolonas.YOLONASPAN', arch=arch, norm_cfg=eps))
    if task == 'detection':
        model.bbox_head = MODELS.build(dict(type='mmyolonas.YOLONASHead', num_classes=80))
    else:
        model.head = MODELS.build(
            dict(type='mmyolonas.YOLONASPoseHead', num_keypoints=17, arch=arch))
    path = export_onnx(model, str(tmp_path / 'm.onnx'), (1, 3, 160, 160), nms='none',
                       verify=False).path
    quantised = quantise(path, str(tmp_path / 'q.onnx'))
    for source, precision in ((path, 'fp32'), (path, 'fp16'), (quantised, 'int8')):
        assert build(source, tmp_path, precision=precision).size > 1 << 20
    assert get_metadata(path).task == task
