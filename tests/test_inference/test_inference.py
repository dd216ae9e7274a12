"""The predictor, its sources and writers, and the demos around them."""
import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config

from mmyolonas.inference.inference import InferenceOptions, Predictor
from mmyolonas.inference.writers import JsonLinesWriter, VideoWriter
from mmyolonas.utils import UserError
from mmyolonas.utils.building import build_model
from mmyolonas.utils.images import VideoSource, find_images, iter_images, read_image
from tests import tiny
from tests.run_tool import run_tool

TEST_PIPELINE = [
    dict(type='LoadImageFromFile'),
    dict(type='Resize', scale=(64, 64), keep_ratio=True),
    dict(type='mmyolonas.CenterPad', size=(64, 64), pad_val=114),
    dict(type='LoadAnnotations', with_bbox=True),
    dict(type='PackDetInputs', meta_keys=('img_id', 'img_path', 'ori_shape', 'img_shape',
                                          'scale_factor', 'pad_param'))
]


def write_model(folder, classes=tiny.CLASSES, **meta) -> tuple:
    """Write a config and a checkpoint with confident random predictions; return their paths."""
    config = tiny.write_config(folder / 'config.py', dict(
        default_scope='mmdet', model=tiny.model_config(len(classes)),
        test_dataloader=dict(dataset=dict(type='CocoDataset', pipeline=TEST_PIPELINE))))
    torch.manual_seed(0)
    model = build_model(Config.fromfile(config))
    for level in model.bbox_head.levels:
        torch.nn.init.normal_(level.cls_pred.weight, std=2)
        torch.nn.init.zeros_(level.cls_pred.bias)
        # boxes of about two cells
        level.reg_pred.bias.data.view(4, 17).copy_(-torch.arange(17.0) * 0.7)
    checkpoint = folder / 'model.pth'
    torch.save(dict(meta=dict(dataset_meta=dict(classes=list(classes)), **meta),
                    state_dict=model.state_dict()), checkpoint)
    return str(config), str(checkpoint)


@pytest.fixture(scope='module')
def model(tmp_path_factory) -> tuple:
    return write_model(tmp_path_factory.mktemp('model'))


@pytest.fixture(scope='module')
def images(tmp_path_factory):
    folder = tmp_path_factory.mktemp('images')
    tiny.write_data(folder, count=3)
    wide = np.full((40, 100, 3), 90, np.uint8)
    cv2.rectangle(wide, (20, 10), (50, 30), (0, 200, 255), -1)
    cv2.imwrite(str(folder / 'wide.jpg'), wide)
    return folder


def test_predictor_agrees_with_mmdet(model, images):
    from mmdet.apis import inference_detector, init_detector
    image = read_image(images / '000.png')
    predictor = Predictor(*model, InferenceOptions(score_thr=0.3, iou_thr=0.6), fuse=False,
                          device='cpu')
    ours, = predictor([image])
    detector = init_detector(
        *model, device='cpu',
        cfg_options={'model.test_cfg.score_thr': 0.3, 'model.test_cfg.nms.iou_threshold': 0.6})
    theirs = inference_detector(detector, image).pred_instances
    assert len(ours) == len(theirs) > 3
    assert predictor.classes == tiny.CLASSES == tuple(detector.dataset_meta['classes'])
    np.testing.assert_allclose(ours.boxes, theirs.bboxes.numpy(), atol=1e-4)
    np.testing.assert_allclose(ours.scores, theirs.scores.numpy(), atol=1e-6)
    np.testing.assert_array_equal(ours.labels, theirs.labels.numpy())
    fused, = Predictor(*model, InferenceOptions(score_thr=0.3, iou_thr=0.6), device='cpu')([image])
    np.testing.assert_allclose(fused.boxes, ours.boxes, atol=1e-3)


def test_options(model, images):
    image = read_image(images / '000.png')

    def predict(**options):
        return Predictor(*model, InferenceOptions(**options))([image])[0]

    everything = predict(score_thr=0.3)
    assert (np.diff(everything.scores) <= 0).all() and everything.scores.min() >= 0.3
    assert set(everything.labels) == {0, 1}
    for wanted in (['disc'], [1], ['1']):
        discs = predict(score_thr=0.3, classes=wanted)
        np.testing.assert_array_equal(discs.boxes, everything.boxes[everything.labels == 1])
    assert len(predict(score_thr=0.3, max_per_img=2)) == 2
    agnostic = predict(score_thr=0.3, class_agnostic=True, iou_thr=0.3)
    assert 0 < len(agnostic) < len(predict(score_thr=0.3, iou_thr=0.3))
    x1, y1, x2, y2 = agnostic.boxes.T
    width = np.minimum(x2[:, None], x2) - np.maximum(x1[:, None], x1)
    height = np.minimum(y2[:, None], y2) - np.maximum(y1[:, None], y1)
    inter = width.clip(0) * height.clip(0)
    area = (x2 - x1) * (y2 - y1)
    iou = inter / (area[:, None] + area - inter)
    assert iou[~np.eye(len(iou), dtype=bool)].max() <= 0.3 + 1e-5
    with pytest.raises(UserError, match="unknown class 'dog'; the model has square, disc"):
        predict(classes=['dog'])


def test_wrong_checkpoints(model, images, tmp_path):
    config, checkpoint = model
    with pytest.raises(UserError, match='does not exist'):
        Predictor(config, str(tmp_path / 'none.pth'))
    _, other = write_model(tmp_path, classes=('a', 'b', 'c'))
    with pytest.raises(UserError, match='3 outputs there, 2 in the model'):
        Predictor(config, other)
    state = torch.load(checkpoint)['state_dict']
    torch.save({key: value for key, value in state.items() if 'neck' not in key}, other)
    with pytest.raises(UserError, match='not a complete checkpoint'):
        Predictor(config, other)
    torch.save(dict(net={'heads.head1.cls_pred.bias': torch.zeros(1)}), other)
    with pytest.raises(UserError, match='sg2mm.py'):
        Predictor(config, other)


def test_fused_checkpoint_loads(model, images, tmp_path):
    config, checkpoint = model
    predictor = Predictor(config, checkpoint)
    torch.save(dict(state_dict=predictor.model.state_dict(), meta={}), tmp_path / 'fused.pth')
    image = read_image(images / '001.png')
    np.testing.assert_array_equal(
        Predictor(config, str(tmp_path / 'fused.pth'))([image])[0].boxes,
        predictor([image])[0].boxes)


def test_sources(images, tmp_path):
    assert [p.name for p in find_images([str(images)])] == [
        '000.png', '001.png', '002.png', 'wide.jpg']
    pattern = str(images / '00[12].png')
    assert [p.name for p in find_images([pattern, str(images / '001.png')])] == [
        '001.png', '002.png']
    for missing in ('none.png', 'none/*.png'):
        with pytest.raises(UserError, match='does not exist, and no image'):
            find_images([str(tmp_path / missing)])
    with pytest.raises(UserError, match='holds no images'):
        find_images([str(tmp_path)])


def test_unusual_images(tmp_path):
    rng = np.random.default_rng(0)
    colour = rng.integers(0, 255, (32, 48, 3), dtype=np.uint8)
    grey, deep = colour[..., 0], colour.astype(np.uint16) * 257
    files = dict(grey=grey, deep=deep, alpha=np.dstack([colour, grey]), plain=colour)
    for name, image in files.items():
        cv2.imwrite(str(tmp_path / f'{name}.png'), image)
    expected = dict(grey=np.repeat(grey[..., None], 3, 2), deep=colour, alpha=colour, plain=colour)
    for name, image in expected.items():
        np.testing.assert_array_equal(read_image(tmp_path / f'{name}.png'), image)
    data = (tmp_path / 'plain.png').read_bytes()
    (tmp_path / 'cut.png').write_bytes(data[:len(data) // 2])
    (tmp_path / 'text.jpg').write_text('not an image')
    (tmp_path / 'empty.png').write_bytes(b'')
    failures = []
    frames = list(iter_images(find_images([str(tmp_path)]), failures))
    assert len(frames) >= 4 and len(failures) >= 2
    assert any('is not an image' in message for message in failures)
    assert any('is empty' in message for message in failures)


def write_video(path, frames: int = 12) -> None:
    with VideoWriter(path, fps=10) as video:
        for index in range(frames):
            image = np.full((48, 64, 3), 60, np.uint8)
            cv2.circle(image, (5 + 4 * index, 24), 8, (0, 255, 0), -1)
            video.write(image)


def test_video_source(tmp_path, capsys):
    path = tmp_path / 'video.avi'
    write_video(path)
    assert not list(tmp_path.glob('.*'))
    source = VideoSource(str(path), stride=5)
    assert len(source) == 3 and (source.height, source.width) == (48, 64)
    frames = list(source)
    assert [(f.index, f.seconds) for f in frames] == [(0, 0.0), (5, 0.5), (10, 1.0)]
    green = frames[2].image[24, 45]
    assert green[1] > 200 and green[0] < 60
    assert len(list(VideoSource(str(path), max_frames=2))) == 2
    # a file that announces more frames than it has
    source = VideoSource(str(path))
    source.announced = 30
    assert len(list(source)) == 12
    assert 'ends early: 12 of 30 frames' in capsys.readouterr().err
    path.write_bytes(b'RIFF' + bytes(3000))
    with pytest.raises(UserError, match='cannot be decoded.*ffmpeg'):
        VideoSource(str(path))
    with pytest.raises(UserError, match='does not exist'):
        VideoSource(str(tmp_path / 'none.mp4'))
    with pytest.raises(UserError, match='camera 77 cannot be opened'):
        VideoSource('77')


def test_video_that_is_cut_short(tmp_path, capsys):
    path = tmp_path / 'video.avi'
    write_video(path, frames=40)
    data = path.read_bytes()
    path.write_bytes(data[:len(data) // 2])
    try:
        frames = list(VideoSource(str(path)))
    except UserError as error:  # some builds of FFmpeg refuse it at once
        assert 'cannot be decoded' in str(error)
        return
    assert 0 < len(frames) < 40


def test_writers_complete_or_nothing(tmp_path):
    path = tmp_path / 'lines.jsonl'
    with pytest.raises(ZeroDivisionError), JsonLinesWriter(path) as lines:
        lines.write(dict(a=1))
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())
    with pytest.raises(KeyboardInterrupt), JsonLinesWriter(path) as lines:
        lines.write(dict(a=1))
        raise KeyboardInterrupt
    assert path.read_text() == '{"a": 1}\n' and len(list(tmp_path.iterdir())) == 1
    with pytest.raises(UserError, match='give a video name'):
        VideoWriter(tmp_path / 'video.xyz', 25)


def test_image_demo(model, images, tmp_path, capsys):
    (images / 'broken.jpg').write_text('no image')
    out = tmp_path / 'out'
    assert run_tool('demo/image_demo.py', *model, images, '--out-dir', out, '--score-thr', 0.3,
                    '--batch-size', 2) == 0
    (images / 'broken.jpg').unlink()
    text = capsys.readouterr()
    assert '4 of 5 images' in text.out and 'broken.jpg' in text.err
    lines = [json.loads(line) for line in (out / 'predictions.jsonl').read_text().splitlines()]
    assert [line['source'].rsplit('/')[-1] for line in lines] == [
        '000.png', '001.png', '002.png', 'wide.jpg']
    assert (lines[3]['width'], lines[3]['height']) == (100, 40)
    found = lines[0]['detections']
    assert len(found) > 3 and found[0]['class'] == tiny.CLASSES[found[0]['label']]
    for line in lines:  # boxes in pixels of the original image
        boxes = np.array([d['box'] for d in line['detections']]).reshape(-1, 4)
        assert (boxes >= 0).all() and (boxes[:, [0, 2]] <= line['width']).all()
        assert (boxes[:, [1, 3]] <= line['height']).all()
    drawn, image = cv2.imread(str(out / '000.png')), cv2.imread(str(images / '000.png'))
    assert drawn.shape == image.shape and (drawn != image).any()
    (tmp_path / 'only.jpg').write_text('no image')
    assert run_tool('demo/image_demo.py', *model, tmp_path / 'only.jpg', '--out-dir', out) == 1
    assert 'none of the images could be read' in capsys.readouterr().err


def test_video_demo(model, tmp_path, capsys):
    source, out = tmp_path / 'source.avi', tmp_path / 'out.mp4'
    write_video(source)
    assert run_tool('demo/video_demo.py', *model, source, '--out', out, '--score-thr', 0.3,
                    '--batch-size', 5) == 0
    assert '12 frames' in capsys.readouterr().out
    lines = [json.loads(line) for line in out.with_suffix('.jsonl').read_text().splitlines()]
    assert [line['frame'] for line in lines] == list(range(12)) and lines[7]['seconds'] == 0.7
    written = VideoSource(str(out))
    assert (written.height, written.width) == (48, 64) and len(list(written)) == 12
    assert run_tool('demo/video_demo.py', *model, source, '--out', source) == 1
    assert 'the source itself and --out are the same file' in capsys.readouterr().err
