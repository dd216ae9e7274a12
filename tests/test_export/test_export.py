"""Exported files against PyTorch."""
import copy
import os

import numpy as np
import onnx
import pytest
import torch
from mmcv.cnn import ConvModule

from mmyolonas.export import export, export_onnx, get_metadata, prepare_model
from mmyolonas.export.export import unmatched
from mmyolonas.export.fusion import fold_shortcut_scales, shortcuts_fold
from mmyolonas.quantization import fuse_model
from mmyolonas.runtime import open_session
from mmyolonas.utils import UserError
from mmyolonas.version import __version__
from tests.exported_models import metadata, pixels

# what is free, batch, height and width; the dynamic files are traced with one
# image of 96 x 128
CASES = [('none', 4, (96, 128)), ('batch', 4, (96, 128)), ('shape', 2, (128, 64))]


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
@pytest.mark.parametrize('task', ['detection', 'pose'])
@pytest.mark.parametrize('dynamic, batch, size', CASES)
def test_decoded_numbers_equal_pytorch(zoo, task, backend, dynamic, batch, size):
    path = zoo.file(task, 'none', dynamic, batch if dynamic == 'none' else 1)
    image = pixels(batch, *size)
    expected = zoo.decoded(task, image)
    with open_session(path, backend) as session:
        got = session.run({'input': image})
    assert set(got) == set(expected)
    for name, value in expected.items():
        tolerance = 0.01 if name in ('boxes', 'keypoints') else 1e-4
        assert got[name].shape == value.shape
        assert np.abs(got[name] - value).max() < tolerance, name
    assert expected['scores'].std() > 0.05  # not a model that says the same everywhere


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
@pytest.mark.parametrize('dynamic, batch, size', CASES)
def test_detections_equal_the_head_prediction(zoo, backend, dynamic, batch, size):
    path = zoo.file('detection', 'onnx', dynamic, batch if dynamic == 'none' else 1)
    image = pixels(batch, *size)
    model = zoo.model('detection')
    metas = [dict(img_shape=size) for _ in range(batch)]
    with torch.no_grad():
        outs = model.bbox_head(model.extract_feat(torch.from_numpy(image)))
        expected = model.bbox_head.predict_by_feat(*outs, batch_img_metas=metas)
    with open_session(path, backend) as session:
        got = session.run({'input': image})
    for index, found in enumerate(expected):
        count = int((got['dets'][index, :, 4] > 0).sum())
        assert count == len(found) and 0 < count <= 50
        dets = got['dets'][index, :count]
        assert np.abs(dets[:, :4] - found.bboxes.numpy()).max() < 0.01
        assert np.abs(dets[:, 4] - found.scores.numpy()).max() < 1e-4
        assert (got['labels'][index, :count] == found.labels.numpy()).all()
        assert len(set(found.labels.tolist())) > 1


@pytest.mark.parametrize('backend', ['onnxruntime', 'openvino'])
def test_poses_equal_the_head_prediction(zoo, backend):
    image = pixels(2, 96, 128)
    model = zoo.model('pose')
    with torch.no_grad():
        feats = model.neck(model.backbone(torch.from_numpy(image)))
        expected = model.head.predict(feats, None, dict(score_thr=0.2, nms_thr=0.6, nms_pre=300,
                                                        max_per_img=20))
    with open_session(zoo.file('pose', 'onnx', 'batch'), backend) as session:
        got = session.run({'input': image})
    for index, found in enumerate(expected):
        count = int((got['dets'][index, :, 4] > 0).sum())
        assert count == len(found.scores) and count > 1
        assert np.abs(got['dets'][index, :count, :4] - found.bboxes).max() < 0.01
        points = got['keypoints'][index, :count]
        assert np.abs(points[..., :2] - found.keypoints).max() < 0.01
        assert np.abs(points[..., 2] - found.keypoint_scores).max() < 1e-4


@pytest.mark.parametrize('task', ['detection', 'pose'])
def test_rows_are_sorted_and_padding_is_defined(zoo, task):
    image = pixels(2, 96, 128)
    image[1] = 0.5  # nothing to see
    with open_session(zoo.file(task, 'onnx', 'batch')) as session:
        got = session.run({'input': image})
    scores = got['dets'][..., 4]
    assert (np.diff(scores, axis=1) <= 0).all()
    padding = scores == 0
    assert padding.any() and not padding.all()
    assert (got['dets'][padding] == 0).all()
    if task == 'detection':
        assert (got['labels'][padding] == -1).all() and (got['labels'][~padding] >= 0).all()
    else:
        assert (got['keypoints'][padding] == 0).all()


def test_no_detection_at_all(zoo, tmp_path):
    meta = metadata('detection')
    meta.postprocess.score_threshold = 0.999999
    path = export_onnx(zoo.model('detection'), str(tmp_path / 'm.onnx'), (1, 3, 64, 64),
                       metadata=meta).path
    for backend in ('onnxruntime', 'openvino'):
        with open_session(path, backend) as session:
            got = session.run({'input': pixels(1, 64, 64)})
        assert got['dets'].shape == (1, 50, 5) and not got['dets'].any()
        assert (got['labels'] == -1).all()


def test_graph_is_clean_and_readable(zoo):
    model = onnx.load(zoo.file())
    onnx.checker.check_model(model, full_check=True)
    assert [o.version for o in model.opset_import if not o.domain] == [17]
    names = {name for node in model.graph.node for name in [*node.input, *node.output]}
    assert not [name for name in names if '/' in name or 'onnx::' in name or 'output_0' in name]
    assert 'backbone.stage1.blocks.bottlenecks.0.cv1.rbr_reparam' in names
    assert 'bbox_head.levels.0.cls_pred.weight' in names
    nodes = [node.name for node in model.graph.node]
    assert len(nodes) == len(set(nodes))
    kinds = {node.op_type for node in model.graph.node}
    assert not kinds & {'BatchNormalization', 'Identity', 'Shape', 'Constant'}
    # the learnt scales of the shortcuts are folded: no product within the network
    assert not [node.name for node in model.graph.node
                if node.op_type == 'Mul' and node.name.startswith(('backbone', 'neck'))]


def test_file_describes_itself(zoo):
    meta = get_metadata(zoo.file('pose'))
    assert meta.mmyolonas_version == __version__
    assert (meta.task, meta.input_size, meta.class_names) == ('pose', [128, 96], ['person'])
    assert meta.keypoint_names == list('abcde') and meta.skeleton == [[0, 1], [1, 2]]
    assert meta.preprocess.channel_order == 'BGR' and meta.preprocess.inverse == 'ratio'
    assert meta.postprocess.score_threshold == 0.2 and meta.postprocess.max_detections == 20
    assert get_metadata(zoo.file()).preprocess.resize_size == [124, 92]


def test_raw_pixels_with_preprocessing_in_the_graph(zoo, tmp_path):
    for task in ('detection', 'pose'):
        meta = metadata(task)
        meta.preprocess.in_graph = True
        path = export_onnx(zoo.model(task), str(tmp_path / f'{task}.onnx'), (1, 3, 96, 128),
                           nms='none', metadata=meta).path
        raw = (pixels(1, 96, 128) * 255).astype(np.uint8)
        order = [2, 1, 0] if task == 'detection' else [0, 1, 2]
        expected = zoo.decoded(task, raw[:, order].astype(np.float32) / np.float32(255))
        for backend in ('onnxruntime', 'openvino'):
            with open_session(path, backend) as session:
                got = session.run({'input': raw})
            assert np.abs(got['boxes'] - expected['boxes']).max() < 0.01


def test_export_leaves_the_model_as_it_is(zoo, tmp_path):
    model = zoo.model('detection')
    before = {key: value.clone() for key, value in model.state_dict().items()}
    export_onnx(model, str(tmp_path / 'm.onnx'), (1, 3, 64, 64), simplify=False)
    after = model.state_dict()
    assert list(before) == list(after)
    assert all(torch.equal(before[key], after[key]) for key in before)


def test_folded_shortcuts_give_the_same_numbers(zoo):
    image = torch.from_numpy(pixels(1, 96, 128))
    model = zoo.model('detection')
    plain = prepare_model(model, fold_shortcuts=False)
    folded = prepare_model(model, fold_shortcuts=False)
    assert fold_shortcut_scales(folded) == 4 * 2 + 4
    # of an unfused model, the blocks of one convolution
    assert fold_shortcut_scales(copy.deepcopy(model)) == 2
    with torch.no_grad():
        for one, other in zip(plain.extract_feat(image), folded.extract_feat(image)):
            assert torch.allclose(one, other, atol=1e-4, rtol=1e-4)
    normless = fuse_model(model)
    assert fold_shortcut_scales(normless) == 4 * 2 + 4
    with torch.no_grad():
        for one, other in zip(plain.extract_feat(image), normless.extract_feat(image)):
            assert torch.allclose(one, other, atol=1e-4, rtol=1e-4)
    stuck = prepare_model(model, fold_shortcuts=False)
    stuck.backbone.stage1.blocks.bottlenecks[0].alpha.data.fill_(-1)
    assert fold_shortcut_scales(stuck) == 3 * 2 + 4


@pytest.mark.parametrize('options', [
    dict(order=('norm', 'conv', 'act')), dict(order=('conv', 'act', 'norm')),
    dict(norm_cfg=dict(type='BN', affine=False)), dict(norm_cfg=dict(type='GN', num_groups=2)),
    dict(order=('conv', 'norm', 'act'))])
def test_norms_fold_only_where_they_follow_their_convolution(options):
    block = ConvModule(4, 4, 3, **{'norm_cfg': dict(type='BN'), **options})
    if isinstance(block.norm, torch.nn.BatchNorm2d):
        block.norm.running_mean.uniform_(-1, 1)
        block.norm.running_var.uniform_(0.5, 2)
    prepared, image = prepare_model(block), torch.rand(2, 4, 8, 8)
    assert torch.allclose(prepared(image), block.eval()(image), atol=1e-5)
    assert isinstance(prepared.norm, torch.nn.Identity) == (
        options == dict(order=('conv', 'norm', 'act')))


@pytest.mark.parametrize('change', ['none', 'negative', 'activation', 'shortcut'])
def test_what_folds_is_known_before_it_is_fused(zoo, change):
    model = copy.deepcopy(zoo.model('detection'))
    bottleneck = model.backbone.stage1.blocks.bottlenecks[0]
    if change == 'negative':
        bottleneck.alpha.data.fill_(-1)
    elif change == 'activation':
        bottleneck.cv1.act = torch.nn.SiLU()
    elif change == 'shortcut':
        bottleneck.shortcut = torch.nn.Conv2d(1, 1, 1)
    foretold = sum(len(layer.bottlenecks) for layer in model.modules() if shortcuts_fold(layer))
    assert fold_shortcut_scales(prepare_model(model, fold_shortcuts=False)) == foretold
    assert foretold == (12 if change == 'none' else 10)


def test_reported_errors_are_small(zoo, tmp_path):
    report = export_onnx(zoo.model('detection'), str(tmp_path / 'm.onnx'), (1, 3, 64, 64),
                         nms='none')
    assert report.errors['boxes'] < 0.01 and report.errors['scores'] < 1e-4
    assert report.size == os.path.getsize(report.path)


def test_wrong_numbers_are_noticed(zoo, tmp_path, monkeypatch):
    finish = export.finish_onnx

    def break_weight(proto, *args, **kwargs):
        proto = finish(proto, *args, **kwargs)
        weight = next(i for i in proto.graph.initializer if i.name.endswith('reg_pred.weight'))
        value = onnx.numpy_helper.to_array(weight) * 2
        weight.CopyFrom(onnx.numpy_helper.from_array(value, weight.name))
        return proto

    monkeypatch.setattr(export, 'finish_onnx', break_weight)
    for nms in ('none', 'onnx'):
        with pytest.raises(RuntimeError, match='ONNX Runtime and PyTorch differ'):
            export_onnx(zoo.model('detection'), str(tmp_path / 'm.onnx'), (1, 3, 64, 64),
                        nms=nms, metadata=metadata('detection'))
    assert not os.listdir(tmp_path)


def test_interrupted_export_leaves_nothing(zoo, tmp_path, monkeypatch):
    path = tmp_path / 'm.onnx'
    path.write_bytes(b'older')

    def interrupt(*args, **kwargs):
        raise KeyboardInterrupt

    monkeypatch.setattr(export, 'finish_onnx', interrupt)
    with pytest.raises(KeyboardInterrupt):
        export_onnx(zoo.model('detection'), str(path), (1, 3, 64, 64))
    assert os.listdir(tmp_path) == ['m.onnx'] and path.read_bytes() == b'older'


def test_bad_arguments(zoo, tmp_path):
    model, path = zoo.model('detection'), str(tmp_path / 'm.onnx')
    with pytest.raises(ValueError, match='multiples of 32'):
        export_onnx(model, path, (1, 3, 100, 128))
    with pytest.raises(ValueError, match='dynamic must be one of'):
        export_onnx(model, path, dynamic='yes')
    with pytest.raises(ValueError, match='opset must be at least'):
        export_onnx(model, path, opset=11)
    with pytest.raises(ValueError, match='nms must be one of'):
        export_onnx(model, path, nms='soft')
    with pytest.raises(ValueError, match='no form for pose'):
        export_onnx(zoo.model('pose'), path, nms='efficient_nms')
    blocked = tmp_path / 'file'
    blocked.write_text('')
    with pytest.raises(UserError, match='cannot write'):
        export_onnx(model, str(blocked / 'm.onnx'), (1, 3, 64, 64))


def test_unmatched_counts_both_sides():
    one = np.array([[[0, 0, 9, 9, .9], [5, 5, 9, 9, .5], [0, 0, 0, 0, 0]]], np.float32)
    other = one.copy()
    assert unmatched(one, other) == 0
    other[0, 1, 4] = 0
    assert unmatched(one, other) == pytest.approx(1 / 3)
    assert unmatched(one * 0, one * 0) == 0
