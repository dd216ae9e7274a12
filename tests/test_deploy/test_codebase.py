"""mmdeploy's API on our configs: export, inference, test loop, SDK."""
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmyolonas.deploy.pipeline import (
    convert,
    dump_sdk_info,
    engine_options,
    export_checkpoint,
    load_model,
)
from mmyolonas.export import get_metadata, metadata_from_config
from mmyolonas.export.config_metadata import merge_postprocess, pipeline_preprocess
from mmyolonas.utils import UserError
from tests.exported_models import spread
from tests.tiny import config, write_data

mmdeploy = pytest.importorskip('mmdeploy')
CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / 'deploy'
META_KEYS = ('img_id', 'img_path', 'ori_shape', 'img_shape', 'scale_factor', 'pad_param')


def deploy_config(name):
    """Return a copy of a deploy config."""
    return Config.fromfile(CONFIGS / f'{name}.py')


@pytest.fixture(scope='module')
def work(tmp_path_factory):
    """Return a folder with data, and the detection config and weights in it."""
    folder = tmp_path_factory.mktemp('work')
    data = write_data(folder / 'data')
    cfg = config(data, folder / 'runs')
    cfg['test_dataloader']['dataset']['pipeline'] = [
        dict(type='LoadImageFromFile'),
        dict(type='Resize', scale=(60, 60), keep_ratio=True),
        dict(type='mmyolonas.CenterPad', size=(64, 64)),
        dict(type='LoadAnnotations', with_bbox=True),
        dict(type='PackDetInputs', meta_keys=META_KEYS)
    ]
    cfg['model']['test_cfg'].update(score_thr=0.3)
    cfg['default_hooks'] = dict(logger=dict(type='LoggerHook'))
    cfg['visualizer'] = dict(type='DetLocalVisualizer')
    cfg = Config(cfg)
    model = spread(load_model(cfg, None))
    torch.save(dict(state_dict=model.state_dict(), meta={}), folder / 'model.pth')
    return folder, cfg, str(folder / 'model.pth'), str(data / '000.png')


def pytorch_prediction(cfg, checkpoint, picture):
    """Return mmdet's own prediction."""
    from mmdet.apis import inference_detector, init_detector
    cfg = cfg.copy()
    cfg.test_dataloader.dataset.pipeline = [
        step for step in cfg.test_dataloader.dataset.pipeline if 'Annotations' not in step.type]
    model = init_detector(cfg, checkpoint, device='cpu')
    return inference_detector(model, picture).pred_instances


@pytest.mark.parametrize('name', ['onnxruntime_static', 'onnxruntime_dynamic-shape'])
@pytest.mark.long
def test_mmdeploys_api_gives_what_pytorch_gives(work, name):
    from mmdeploy.apis import build_task_processor, inference_model, torch2onnx
    from mmdeploy.apis.core.pipeline_manager import no_mp
    folder, cfg, checkpoint, picture = work
    deploy_cfg = deploy_config(f'detection_{name}')
    out = folder / f'api_{name}'
    with no_mp():
        torch2onnx(picture, str(out), 'end2end.onnx', deploy_cfg, cfg.copy(), checkpoint, 'cpu')
    files = [str(out / 'end2end.onnx')]
    found = inference_model(cfg.copy(), deploy_cfg, files, picture, 'cpu')[0].pred_instances
    expected = pytorch_prediction(cfg, checkpoint, picture)
    assert len(found) == len(expected) > 1
    assert np.allclose(found.bboxes, expected.bboxes, atol=0.01)
    assert np.allclose(found.scores, expected.scores, atol=1e-4)
    assert torch.equal(found.labels, expected.labels)
    task = build_task_processor(cfg.copy(), deploy_cfg, 'cpu')
    exported = task.build_test_runner(
        task.build_backend_model(files, task.update_data_preprocessor), str(folder)).test()
    original = task.build_test_runner(
        task.build_pytorch_model(checkpoint), str(folder)).test()
    assert set(exported) == set(original)
    assert exported == pytest.approx(original, abs=1e-3)


@pytest.mark.long
def test_mmdeploys_own_rewriters_stay_a_base_line(work):
    from mmyolonas.runtime import open_session
    folder, cfg, checkpoint, picture = work
    stock = export_checkpoint(deploy_config('detection_onnxruntime_mmdeploy'), cfg, checkpoint,
                              str(folder / 'stock'), picture)
    ours = export_checkpoint(deploy_config('detection_onnxruntime_static'), cfg, checkpoint,
                             str(folder / 'ours'))
    image = np.random.default_rng(0).random((1, 3, 64, 64), np.float32)
    with open_session(stock.onnx) as one, open_session(ours.onnx) as other:
        # mmdeploy stretches the image to the shape of the export
        expected, got = one.run({'input': image}), other.run({'input': image})
    count = int((got['dets'][0, :, 4] > 0).sum())
    order = np.argsort(-expected['dets'][0, :, 4], kind='stable')[:count]
    assert count == int((expected['dets'][0, :, 4] > 0).sum()) > 1
    assert np.allclose(expected['dets'][0, order], got['dets'][0, :count], atol=0.01)
    assert np.array_equal(expected['labels'][0, order], got['labels'][0, :count])


def test_deploy_thresholds_win_over_the_models(work):
    folder, cfg, checkpoint, _ = work
    deploy_cfg = deploy_config('detection_onnxruntime_static')
    assert metadata_from_config(cfg, deploy_cfg).postprocess.score_threshold == 0.3
    deploy_cfg.codebase_config.post_processing.update(
        score_threshold=0.6, iou_threshold=0.4, keep_top_k=3, pre_top_k=10, nms_type='none')
    rules = metadata_from_config(cfg, deploy_cfg).postprocess
    assert (rules.score_threshold, rules.iou_threshold, rules.max_detections,
            rules.pre_top_k, rules.nms) == (0.6, 0.4, 3, 10, 'none')
    report = export_checkpoint(deploy_cfg, cfg, checkpoint, str(folder / 'none'))
    assert get_metadata(report.onnx).postprocess == rules
    with pytest.raises(ValueError, match='score_threshold must lie'):
        merge_postprocess(dict(score_threshold=1.5), {}, False)
    with pytest.raises(ValueError, match='at least 1'):
        merge_postprocess(dict(keep_top_k=0), {}, False)


def test_description_of_a_config(work):
    _, cfg, _, _ = work
    meta = metadata_from_config(cfg, deploy_config('detection_onnxruntime_static'))
    assert meta.class_names == ['square', 'disc'] and meta.input_size == [64, 64]
    how = meta.preprocess
    assert (how.resize_size, how.pad_size, how.pad_position) == ([60, 60], [64, 64], 'center')
    assert how.pad_value == [114.] * 3 and how.channel_order == 'RGB'
    with pytest.raises(ValueError, match='cannot describe'):
        pipeline_preprocess([dict(type='RandomCrop')], {})
    padded = pipeline_preprocess(
        [dict(type='Resize', scale=(640, 480)),
         dict(type='Pad', size_divisor=32, pad_val=dict(img=(7, 8, 9)))], {})
    assert padded.pad_value == [7, 8, 9] and not padded.keep_ratio and padded.pad_size is None
    bare = pipeline_preprocess([], dict(mean=[1, 2, 3], std=[2, 2, 2], bgr_to_rgb=True,
                                        pad_value=1, pad_size_divisor=32))
    assert bare.pad_value == [5, 4, 3]  # BGR, before normalisation


@pytest.mark.long
def test_openvino_file_and_wrong_backend(work):
    from mmyolonas.apis import Runtime
    folder, cfg, checkpoint, picture = work
    deploy_cfg = deploy_config('detection_openvino_static')
    made = export_checkpoint(deploy_cfg, cfg, checkpoint, str(folder / 'ov'))
    report = convert(deploy_cfg, made.onnx, str(folder / 'ov'))
    with Runtime(report.model) as one, Runtime(made.onnx) as other:
        assert one.session.backend == 'openvino' and one.metadata == other.metadata
        assert np.allclose(one(picture).boxes, other(picture).boxes, atol=0.01)
    deploy_cfg.backend_config.type = 'tvm'
    with pytest.raises(ValueError, match='must be onnxruntime, openvino, tensorrt'):
        convert(deploy_cfg, made.onnx, str(folder))


def test_engine_options_of_the_configs(work, zoo):
    static, free = zoo.file(), zoo.file('detection', 'none', 'batch')
    options = engine_options(deploy_config('detection_tensorrt').backend_config, free)
    assert options.precision == 'fp32' and options.workspace is None
    assert (options.min_shape, options.max_shape) == ([1, 3, 96, 128], [8, 3, 96, 128])
    fixed = engine_options(deploy_config('pose_tensorrt-fp16').backend_config, static)
    assert fixed.precision == 'fp16' and fixed.min_shape is None
    assert engine_options(
        deploy_config('pose_tensorrt-int8').backend_config, static).precision == 'int8'
    cfg = deploy_config('detection_tensorrt').backend_config
    cfg.model_inputs = [dict(input_shapes=dict(input=dict(
        min_shape=[1, 3, 64, 64], opt_shape=[1, 3, 64, 64], max_shape=[2, 3, 64, 64])))]
    assert engine_options(cfg, free).max_shape == [2, 3, 64, 64]
    with pytest.raises(ValueError, match='give backend_config.model_inputs'):
        engine_options(deploy_config('detection_tensorrt').backend_config,
                       zoo.file('detection', 'none', 'shape'))


def test_sdk_serves_the_exported_folder(work):
    runtime = pytest.importorskip('mmdeploy_runtime')
    import cv2
    folder, cfg, checkpoint, picture = work
    deploy_cfg = deploy_config('detection_onnxruntime_static')
    out = str(folder / 'sdk')
    export_checkpoint(deploy_cfg, cfg, checkpoint, out)
    before = cfg.pretty_text, deploy_cfg.pretty_text
    files = dump_sdk_info(deploy_cfg, cfg, out, checkpoint)
    assert (cfg.pretty_text, deploy_cfg.pretty_text) == before
    pipeline = json.loads(Path(files[1]).read_text())['pipeline']['tasks']
    assert pipeline[2]['module'] == 'mmdet'
    assert 'LetterResize' in [step['type'] for step in pipeline[0]['transforms']]
    boxes, labels, _ = runtime.Detector(out, 'cpu', 0)(cv2.imread(picture))
    expected = pytorch_prediction(cfg, checkpoint, picture)
    assert len(boxes) == len(expected) > 1
    # the SDK's largest coordinate is width - 1
    limit = np.minimum(expected.bboxes.numpy(), 63)
    assert np.allclose(boxes[:, :4], limit, atol=0.05)
    assert np.allclose(boxes[:, 4], expected.scores, atol=1e-3)
    if labels.strides == (labels.itemsize, ):
        # the binding was made for numpy 1; under numpy 2 its labels are all the last one
        assert np.array_equal(labels, expected.labels)
    else:
        assert np.__version__ >= '2'


def test_sdk_refuses_what_it_cannot_serve(work):
    folder, cfg, checkpoint, _ = work
    pose = Config(dict(model=dict(head={})))
    with pytest.raises(ValueError, match='one-stage pose'):
        dump_sdk_info(deploy_config('pose_onnxruntime_static'), pose, str(folder), checkpoint)
    with pytest.raises(ValueError, match='nms_type="onnx"'):
        dump_sdk_info(deploy_config('detection_onnxruntime_raw'), cfg, str(folder), checkpoint)


def test_checkpoint_of_another_model(work, tmp_path):
    _, cfg, checkpoint, _ = work
    with pytest.raises(UserError, match='does not exist'):
        load_model(cfg, str(tmp_path / 'no.pth'))
    other = cfg.copy()
    other.model.bbox_head.num_classes = 5
    with pytest.raises(ValueError, match='does not fit the config'):
        load_model(other, checkpoint)


@pytest.mark.long
def test_pose_through_mmdeploy(tmp_path, data_root):
    pytest.importorskip('mmpose')
    from mmdeploy.apis import build_task_processor, inference_model, torch2onnx
    from mmdeploy.apis.core.pipeline_manager import no_mp

    from mmyolonas.apis import Runtime
    cfg = Config.fromfile(CONFIGS.parent / 'yolonas_pose' / 'yolonas_pose_n_mouse.py')
    root = str(data_root / 'mouse_openfield')
    for name in ('test_dataloader', 'val_dataloader'):
        cfg[name].dataset.data_root = root
    cfg.test_dataloader.dataset.indices = 3
    evaluator = [dict(type='mmyolonas.PosePCKMetric', thr=0.1)]
    cfg.test_evaluator = cfg.val_evaluator = evaluator
    cfg.model.test_cfg.score_thr = 0.3
    checkpoint = str(tmp_path / 'pose.pth')
    torch.save(dict(state_dict=spread(load_model(cfg, None)).state_dict(), meta={}), checkpoint)
    picture = str(sorted((data_root / 'mouse_openfield' / 'valid').glob('*.png'))[0]) \
        if sorted((data_root / 'mouse_openfield' / 'valid').glob('*.png')) else \
        str(sorted((data_root / 'mouse_openfield' / 'valid').glob('*.jpg'))[0])
    deploy_cfg = deploy_config('pose_onnxruntime_static')
    with no_mp():
        torch2onnx(picture, str(tmp_path), 'api.onnx', deploy_cfg, cfg.copy(), checkpoint, 'cpu')
    made = export_checkpoint(deploy_cfg, cfg, checkpoint, str(tmp_path / 'ours'))
    assert get_metadata(made.onnx).keypoint_names == ['snout', 'leftear', 'rightear', 'tailbase']
    task = build_task_processor(cfg.copy(), deploy_cfg, 'cpu')
    data, _ = task.create_input(picture)
    with torch.no_grad():
        expected = task.build_pytorch_model(checkpoint).test_step(data)[0].pred_instances
    assert len(expected.bbox_scores) > 1
    for path in (str(tmp_path / 'api.onnx'), made.onnx):
        found = inference_model(cfg.copy(), deploy_cfg, [path], picture, 'cpu')[0].pred_instances
        assert np.allclose(found.keypoints, expected.keypoints, atol=0.05)
        assert np.allclose(found.bboxes, expected.bboxes, atol=0.05)
        assert np.allclose(found.bbox_scores, expected.bbox_scores, atol=1e-3)
    with Runtime(made.onnx) as runtime:
        result = runtime(picture)
    assert np.allclose(result.keypoints, expected.keypoints, atol=0.05)
    runner = task.build_test_runner(task.build_backend_model([made.onnx]), str(tmp_path))
    assert any('PCK' in name for name in runner.test())
    output = str(tmp_path / 'drawn.jpg')
    task.visualize(picture, task.build_pytorch_model(checkpoint).test_step(data)[0], output)
    assert Path(output).stat().st_size > 1000
