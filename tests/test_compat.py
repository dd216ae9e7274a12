"""Repairs: each does its work, gives way to the real thing and stays safe."""
import io
import os
import pickle
import subprocess
import sys
import textwrap
import zipfile
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch

from mmyolonas import compat
from mmyolonas.compat import core, host_packages, mmcv_ops, torch_apis

stand_in_only = pytest.mark.skipif(
    compat.has_module('mmcv._ext'), reason='mmcv is compiled here')
safe_load_only = pytest.mark.skipif(
    not hasattr(torch.serialization, 'get_unsafe_globals_in_checkpoint'),
    reason='this torch loads without weights_only')


def run_python(code: str, *paths: Path) -> str:
    """Run ``code`` in a new interpreter, ``paths`` first on its path."""
    root = Path(__file__).resolve().parent.parent
    path = os.pathsep.join(str(p) for p in (*paths, root))
    done = subprocess.run([sys.executable, '-W', 'ignore', '-c', textwrap.dedent(code)],
                          env={**os.environ, 'PYTHONPATH': path}, cwd=os.sep,
                          capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- the import -------------------------------------------------------------


def test_import_is_light():
    out = run_python('''
        import sys, mmyolonas
        print([m for m in ('mmcv', 'mmdet', 'mmpose', 'mmdeploy') if m in sys.modules])
    ''')
    assert out.strip() == '[]'


def test_no_repair_failed_and_setup_runs_once():
    before = compat.repairs()
    assert [r.name for r in before if r.status == 'failed'] == []
    compat.setup()
    assert compat.repairs() == before
    assert len({r.name for r in before}) == len(before)


def test_failing_repair_is_recorded_and_does_not_break(monkeypatch):
    monkeypatch.setattr(core, '_RECORD', {})

    def broken():
        raise RuntimeError('no luck')

    with pytest.warns(UserWarning, match='could not repair thing.*no luck'):
        core.run('thing', 'all', broken)
    core.run('other', 'all', lambda: None)
    core.run('third', 'all', lambda: 'because')
    assert [(r.status, r.why) for r in core.repairs()] == [
        ('failed', 'no luck'), ('not needed', ''), ('applied', 'because')]


# --- mmcv._ext --------------------------------------------------------------


def test_real_extension_wins(tmp_path):
    (tmp_path / 'mmcv').mkdir()
    (tmp_path / 'mmcv' / '__init__.py').write_text('')
    (tmp_path / 'mmcv' / '_ext.py').write_text('REAL = True')
    out = run_python('''
        import mmyolonas, mmcv._ext
        print(mmcv._ext.REAL, [r.status for r in mmyolonas.compat.repairs()
                               if r.name == 'mmcv._ext'])
    ''', tmp_path)
    assert out.strip() == "True ['not needed']"


@stand_in_only
def test_stand_in_has_spec_and_names_itself():
    import mmcv._ext
    from mmcv.utils import collect_env
    assert mmcv._ext.__spec__.name == 'mmcv._ext'
    assert 'stand-in' in collect_env()['MMCV Compiler']


def test_stand_in_is_not_mistaken_for_a_module():
    assert not compat.has_module('no_such_package')
    assert not compat.has_module('mmengine.no_such_module')
    assert compat.has_module('mmengine.config.utils')
    if 'mmcv._ext' in core._STAND_INS:
        assert not compat.has_module('mmcv._ext')


def test_hosts_import():
    import mmdet.apis  # noqa: F401
    import mmdet.models  # noqa: F401
    pytest.importorskip('mmpose')
    import mmpose.apis  # noqa: F401
    import mmpose.models  # noqa: F401


def greedy_nms(boxes: np.ndarray, scores: np.ndarray, threshold: float, offset: int) -> list:
    """NMS as its definition reads, one pair at a time."""
    kept = []
    for index in np.argsort(-scores, kind='stable'):
        x1, y1, x2, y2 = boxes[index]
        for other in kept:
            u1, v1, u2, v2 = boxes[other]
            width = max(0, min(x2, u2) - max(x1, u1) + offset)
            height = max(0, min(y2, v2) - max(y1, v1) + offset)
            area = (x2 - x1 + offset) * (y2 - y1 + offset)
            area_other = (u2 - u1 + offset) * (v2 - v1 + offset)
            if width * height > threshold * (area + area_other - width * height):
                break
        else:
            kept.append(int(index))
    return kept


@pytest.mark.parametrize('offset', [0, 1])
def test_nms_follows_its_definition(offset):
    from mmcv.ops import nms
    corner, side = torch.rand(60, 2) * 20, torch.rand(60, 2) * 10 + 1
    boxes, scores = torch.cat([corner, corner + side], 1), torch.rand(60)
    dets, kept = nms(boxes, scores, 0.4, offset=offset)
    expected = greedy_nms(boxes.double().numpy(), scores.numpy(), 0.4, offset)
    assert 1 < len(expected) < 60
    assert kept.tolist() == expected
    torch.testing.assert_close(dets, torch.cat([boxes, scores[:, None]], 1)[kept])


def test_nms_offset_decides_a_close_case():
    boxes = torch.tensor([[0., 0., 1., 1.], [1., 0., 2., 1.]])
    scores = torch.tensor([.9, .8])
    from mmcv.ops import nms
    assert nms(boxes, scores, 0.2, offset=0)[1].tolist() == [0, 1]
    assert nms(boxes, scores, 0.2, offset=1)[1].tolist() == [0]


def test_nms_takes_no_boxes_thresholds_and_mixed_types():
    from mmcv.ops import nms
    dets, kept = nms(torch.zeros(0, 4), torch.zeros(0), 0.5)
    assert dets.shape == (0, 5) and kept.shape == (0,)
    boxes = torch.tensor([[0., 0., 8., 8.], [20., 0., 28., 8.], [0., 0., 8., 7.]])
    scores = torch.tensor([.2, .9, .8])
    assert nms(boxes, scores, 0.5, score_threshold=0.5)[1].tolist() == [1, 2]
    assert nms(boxes, scores, 0.5, max_num=1)[1].tolist() == [1]
    assert mmcv_ops._nms(boxes.half(), scores, 0.5).tolist() == [1, 2]


def test_batched_nms_keeps_classes_apart():
    from mmcv.ops import batched_nms
    boxes = torch.tensor([[0., 0., 9., 9.], [0., 0., 9., 8.], [0., 0., 9., 9.]])
    labels, scores = torch.tensor([0, 1, 1]), torch.tensor([.5, .9, .8])
    config = dict(type='nms', iou_threshold=0.5)
    assert batched_nms(boxes, scores, labels, config)[1].tolist() == [1, 0]
    assert batched_nms(boxes, scores, labels, config, class_agnostic=True)[1].tolist() == [1]


def test_roi_align_of_a_ramp_and_its_gradient():
    from mmcv.ops import RoIAlign
    layer = RoIAlign((2, 2), spatial_scale=0.5, sampling_ratio=2, aligned=True)
    ramp = torch.arange(16, dtype=torch.double).expand(1, 1, 16, 16).contiguous()
    rois = torch.tensor([[0, 4, 4, 20, 20]], dtype=torch.double)
    # The box covers 1.5 to 9.5 in cell centres; its bins are centred at 3.5 and 7.5.
    torch.testing.assert_close(
        layer(ramp, rois)[0, 0],
        torch.tensor([[3.5, 7.5], [3.5, 7.5]], dtype=torch.double))
    image = torch.rand(2, 2, 8, 8, dtype=torch.double, requires_grad=True)
    rois = torch.tensor([[1, 1, 1, 13, 11], [0, 2, 3, 9, 15]], dtype=torch.double)
    assert torch.autograd.gradcheck(lambda x: layer(x, rois), image)


@stand_in_only
def test_missing_operator_names_itself_and_the_cure():
    from mmcv.ops import roi_align, soft_nms
    boxes, scores = torch.rand(3, 4), torch.rand(3)
    with pytest.raises(compat.OpNotAvailableError, match="'softnms' needs compiled mmcv"):
        soft_nms(boxes, scores)
    with pytest.raises(compat.OpNotAvailableError, match='pip install') as caught:
        roi_align(torch.rand(1, 1, 8, 8), torch.rand(1, 5), (2, 2), 1.0, 2, 'max', True)
    assert compat.COMPILED_MMCV in str(caught.value)


# --- xtcocotools ------------------------------------------------------------


def test_xtcocotools_masks():
    pytest.importorskip('xtcocotools')
    from pycocotools import mask as reference
    from xtcocotools import mask
    image = np.asfortranarray(np.random.rand(9, 7) > 0.5, dtype=np.uint8)
    encoded = mask.encode(image)
    assert encoded == reference.encode(image)
    np.testing.assert_array_equal(mask.decode(encoded), image)
    assert mask.iou([encoded], [encoded], [0]) == 1


# --- pkg_resources ----------------------------------------------------------


def test_pkg_resources_stand_in_answers():
    module = ModuleType('pkg_resources')
    host_packages._fill_pkg_resources(module)
    found = module.get_distribution('numpy')
    assert found.version == np.__version__
    assert os.path.samefile(found.location, Path(np.__file__).parent.parent)
    assert module.parse_version('1.10') > module.parse_version('1.9')
    assert module.working_set.by_key['numpy'].version == np.__version__
    assert found.has_metadata('RECORD') and not found.has_metadata('nothing.txt')
    with pytest.raises(module.DistributionNotFound):
        module.get_distribution('no-such-distribution')


def test_mmengine_works_without_pkg_resources():
    out = run_python('''
        import importlib.machinery as machinery
        real = machinery.PathFinder.find_spec
        machinery.PathFinder.find_spec = classmethod(
            lambda cls, name, *args: None if name == 'pkg_resources' else real(name, *args))
        import mmyolonas
        from mmengine.utils import get_installed_path, is_installed
        import mmdet, os, pkg_resources
        assert get_installed_path('mmdet') == os.path.dirname(mmdet.__file__)
        print(is_installed('numpy'), is_installed('no-such-thing'),
              pkg_resources.__doc__)
    ''')
    assert out.strip() == 'True False Stand-in for pkg_resources by mmyolonas.'


# --- torch.load -------------------------------------------------------------


def mmengine_checkpoint() -> bytes:
    """A file with everything that mmengine's Runner writes."""
    from mmengine.config import ConfigDict
    from mmengine.logging import HistoryBuffer
    history = HistoryBuffer()
    history.update(1.0)
    history.update(3.0)
    buffer = io.BytesIO()
    torch.save(
        dict(history=history, empty=HistoryBuffer(), config=ConfigDict(a=dict(b=1)),
             arrays=[np.arange(3).astype(code) for code in ('f4', 'i8', '?', 'U2')],
             scalar=np.float64(2.5), weight=torch.ones(2)), buffer)
    return buffer.getvalue()


def rename_globals(file: bytes, old: bytes, new: bytes) -> bytes:
    """The same torch file with a module of its pickle renamed."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(file)) as source, zipfile.ZipFile(result, 'w') as target:
        for name in source.namelist():
            content = source.read(name)
            target.writestr(
                name, content.replace(old, new) if name.endswith('data.pkl') else content)
    return result.getvalue()


def test_mmengine_checkpoint_loads():
    loaded = torch.load(io.BytesIO(mmengine_checkpoint()))
    assert loaded['history'].mean() == 2 and loaded['history'].max() == 3
    assert loaded['config'].a.b == 1 and loaded['scalar'] == 2.5
    np.testing.assert_array_equal(loaded['arrays'][1], [0, 1, 2])


@safe_load_only
@pytest.mark.parametrize('name', [b'cnumpy.core.multiarray\n', b'cnumpy._core.multiarray\n'])
def test_checkpoints_of_both_numpys_load(name):
    file = mmengine_checkpoint()
    written = b'cnumpy._core.multiarray\n' if hasattr(np, '_core') else (
        b'cnumpy.core.multiarray\n')
    loaded = torch.load(io.BytesIO(rename_globals(file, written, name)), weights_only=True)
    assert loaded['scalar'] == 2.5


class Attack:
    """Pickles as a call of ``function`` with ``args``."""

    def __init__(self, function, *args):
        self.call = function, args

    def __reduce__(self):
        return self.call


@safe_load_only
@pytest.mark.parametrize('attack', [
    Attack(getattr, torch.Tensor, 'numpy'),
    Attack(eval, '1 + 1'),
    Attack(os.system, 'true'),
])
def test_loading_stays_safe(attack):
    buffer = io.BytesIO()
    torch.save(attack, buffer)
    with pytest.raises((pickle.UnpicklingError, ValueError)):
        torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)


@safe_load_only
def test_history_buffer_opens_no_other_attribute():
    from mmengine.logging import HistoryBuffer
    buffer = io.BytesIO()
    torch.save(Attack(getattr, HistoryBuffer, 'register_statistics'), buffer)
    with pytest.raises((pickle.UnpicklingError, ValueError), match='register_statistics'):
        torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)


# --- torch.onnx -------------------------------------------------------------


def test_export_default(monkeypatch):
    calls = []

    def export(model, args=(), *, dynamo: bool = True, dynamic_shapes=None):
        calls.append(dynamo)

    monkeypatch.setattr(torch.onnx, 'export', export)
    assert 'TorchScript' in torch_apis._default_to_torchscript()
    torch.onnx.export(None)
    torch.onnx.export(None, dynamo=True)
    torch.onnx.export(None, dynamic_shapes={})
    assert calls == [False, True, True]


@pytest.mark.parametrize('export', [lambda model, args=(): None,
                                    lambda model, *, dynamo=False: None])
def test_export_is_left_alone_where_it_is_right(monkeypatch, export):
    monkeypatch.setattr(torch.onnx, 'export', export)
    assert torch_apis._default_to_torchscript() is None
    assert torch.onnx.export is export


def test_export_is_untouched_by_import():
    out = run_python('import mmyolonas, torch; print(hasattr(torch.onnx.export, "__wrapped__"))')
    assert out.strip() == 'False'
