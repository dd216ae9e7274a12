"""Command lines: any option with any value ends in a result or in a sentence."""
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests import tiny
from tests.fuzz.judge import judge_tool

pytestmark = pytest.mark.slow  # whole tools take seconds

NUMBERS = st.one_of(
    st.sampled_from(['0', '1', '2', '-1', '-5', 'nan', 'inf', '-inf', '1e999', '1e-5', '0.5', '',
                     ' ', 'x', '99999999999999999999', '0x10', '1_000', '½', '1.5', 'None']),
    st.floats().map(str), st.integers(-10, 100).map(str))
TEXTS = st.one_of(st.text(max_size=10).filter(lambda text: '\0' not in text),
                  st.sampled_from(['', '-', '--', 'a b', '{{$HOME:x}}', '$x$', '../..', '*', '~']))
PATHS = st.sampled_from(['{0}/new.png', '{0}/new.json', '{0}/new.pth', '{0}/new', '{0}', '{0}/file',
                         '{0}/file/below', '/proc/new', '/dev/full', '{0}/' + 'a' * 300, '',
                         '{0}/new.xyz', '{0}/new.mp4', '{0}/new.pkl', '{0}/data/000.png',
                         '{0}/data', '{0}/config.py', '{0}/model.pth', '{0}/model.onnx',
                         '{0}/missing.png', '{0}/missing/new.jsonl'])
DEVICES = st.sampled_from(['cpu', 'cuda', 'cuda:9', 'tpu', '', 'cpu:1', 'meta', 'mps', 'CPU'])
CHANGES = st.lists(st.sampled_from([
    'model.bbox_head.num_classes=3', 'model.type=Nothing', 'test_dataloader.batch_size=0',
    'test_dataloader.num_workers=-1', 'train_dataloader.num_workers=0', 'a.b.c=1', '=', 'x', 'x=',
    'test_dataloader.dataset.ann_file=none.json', 'model.backbone.arch=xl', 'model=1', 'a=[1,(2]',
    'test_dataloader=None', 'model.test_cfg.score_thr=nan', 'default_scope=nothing']),
    min_size=1, max_size=2)


def options(**values):
    """Return a strategy of some options with their values."""
    def one(item):
        name, strategy = item
        flag = f'--{name.replace("_", "-")}'
        if strategy is None:
            return st.just([flag])
        return strategy.map(lambda value: [
            flag, *(value if isinstance(value, list) else [value])])
    return st.lists(st.sampled_from(sorted(values)), max_size=3, unique=True).flatmap(
        lambda names: st.tuples(*(one((name, values[name])) for name in names))).map(
            lambda groups: [word for group in groups for word in group])


@pytest.fixture(scope='module')
def place(tmp_path_factory, zoo):
    """Return a folder with a config, a checkpoint, images, an exported file."""
    folder = tmp_path_factory.mktemp('lines')
    data = tiny.write_data(folder / 'data', count=2)
    tiny.write_config(folder / 'config.py', tiny.config(data, folder / 'work', epochs=1))
    from mmengine.config import Config

    from mmyolonas.utils.building import build_model
    cfg = Config(dict(default_scope='mmdet', model=tiny.model_config()))
    torch.save(dict(meta=dict(dataset_meta=dict(classes=tiny.CLASSES)),
                    state_dict=build_model(cfg).state_dict()), folder / 'model.pth')
    (folder / 'model.onnx').write_bytes(Path(zoo.file()).read_bytes())
    (folder / 'file').touch()
    (folder / 'images').mkdir()
    cv2.imwrite(str(folder / 'images' / 'a.png'), np.zeros((40, 60, 3), np.uint8))
    video = cv2.VideoWriter(str(folder / 'video.avi'), cv2.VideoWriter_fourcc(*'MJPG'), 10,
                            (64, 48))
    for _ in range(3):
        video.write(np.zeros((48, 64, 3), np.uint8))
    video.release()
    return folder


PREDICTING = dict(score_thr=NUMBERS, iou_thr=NUMBERS, max_per_img=NUMBERS, device=DEVICES,
                  batch_size=NUMBERS, classes=TEXTS, class_agnostic=None, no_fuse=None)
COMMANDS = {
    'demo/image_demo.py': (['{0}/config.py', '{0}/model.pth', '{0}/images'], dict(
        PREDICTING, out_dir=PATHS, no_draw=None, cfg_options=CHANGES)),
    'demo/video_demo.py': (['{0}/config.py', '{0}/model.pth', '{0}/video.avi'], dict(
        PREDICTING, out=PATHS, json=PATHS, no_video=None, stride=NUMBERS, max_frames=NUMBERS)),
    'tools/pseudo_label.py': (['{0}/config.py', '{0}/model.pth', '{0}/images', '--out',
                               '{0}/new.json'], dict(
        score_thr=NUMBERS, class_thr=TEXTS, precision=NUMBERS, labelled=PATHS, iou_thr=NUMBERS,
        max_per_img=NUMBERS, keypoint_thr=NUMBERS, pictures=NUMBERS, batch_size=NUMBERS,
        device=DEVICES, image_root=PATHS, match_iou=NUMBERS, out=PATHS)),
    'tools/test.py': (['{0}/config.py', '{0}/model.pth', '--work-dir', '{0}/test'], dict(
        work_dir=PATHS, out=PATHS, fuse=None, tta=None, show_dir=TEXTS, wait_time=NUMBERS,
        cfg_options=CHANGES)),
    'tools/misc/print_config.py': (['{0}/config.py'], dict(save_path=PATHS, cfg_options=CHANGES)),
    'tools/misc/publish_model.py': (['{0}/model.pth', '{0}/new.pth'], dict(
        half=None, trust=None)),
    'tools/model_converters/sg2mm.py': (['{0}/model.pth', '{0}/new.pth'], dict(
        reverse=None, init_pose=None, config=PATHS)),
    'tools/analysis_tools/get_flops.py': (['{0}/config.py'], dict(
        shape=NUMBERS, cfg_options=CHANGES)),
    'tools/analysis_tools/benchmark.py': (['{0}/config.py', '--iterations', '1', '--warmup', '0',
                                           '--shape', '64', '64'], dict(
        shape=NUMBERS, batch_size=st.sampled_from(['0', '-1', 'nan', '1', '2']), device=DEVICES,
        threads=st.sampled_from(['0', '-1', '1', 'x']), no_fuse=None, predict=None, out=PATHS,
        dtype=TEXTS)),
    'tools/analysis_tools/browse_dataset.py': (['{0}/config.py', '--out', '{0}/new.png'], dict(
        out=PATHS, number=NUMBERS, columns=NUMBERS, repeat=NUMBERS, loader=TEXTS, seed=NUMBERS,
        cfg_options=CHANGES)),
    'tools/analysis_tools/plot_curves.py': (['{0}/work'], dict(
        out=PATHS, metrics=TEXTS, title=TEXTS)),
    'tools/analysis_tools/quantization_report.py': (['{0}/file'], dict(out=PATHS)),
    'tools/profile_deployed.py': (['{0}/model.onnx', '{0}/images', '--num', '1'], dict(
        num=st.sampled_from(['0', '1', '-1', 'nan']), warmup=st.sampled_from(['0', '-1', 'x']),
        threads=st.sampled_from(['0', '-1', '1']), batch_size=st.sampled_from(['0', '1', '2']),
        device=DEVICES, backend=TEXTS, out=PATHS)),
    'tools/deploy.py': (['{0}/config.py', '{0}/config.py', '{0}/model.pth',
                         '{0}/images/a.png'], dict(
        work_dir=PATHS, device=DEVICES, onnx=PATHS, test_img=PATHS, cfg_options=CHANGES)),
    'tools/quantize.py': (['{0}/config.py', '{0}/model.pth', '--work-dir', '/proc/x'], dict(
        repeats=NUMBERS, threads=NUMBERS, budget_ap=NUMBERS, calib_images=NUMBERS, plan=PATHS,
        ranges=PATHS, input_size=NUMBERS, score_images=NUMBERS)),
    'tools/finetune.py': (['{0}/missing'], dict(
        epochs=NUMBERS, imgsz=NUMBERS, batch=NUMBERS, lr=NUMBERS, seed=NUMBERS, model=TEXTS,
        work_dir=PATHS, pretrained=PATHS, format=TEXTS)),
    'tools/search.py': (['report', '--work-dir', '{0}/search'], dict(
        work_dir=PATHS, recipe=PATHS, input_sizes=NUMBERS, max_size=NUMBERS, sample_seed=NUMBERS,
        target=TEXTS, threads=NUMBERS, table=PATHS)),
    'tools/rf100.py': (['report', '--work-dir', '{0}/rf100'], dict(work_dir=PATHS, out=PATHS)),
}
#: Without these the tools would begin a work of minutes.
GUARDS = ('{0}/missing', '/proc/x')


@pytest.mark.parametrize('tool', COMMANDS)
@given(data=st.data())
def test_options(place, tool, data):
    words, known = COMMANDS[tool]
    words = [*words, *data.draw(options(**known))]
    places = [number for number, word in enumerate(words) if word not in GUARDS]
    if places and not data.draw(st.integers(0, 4)):  # something else in the place of a word
        words[data.draw(st.sampled_from(places))] = data.draw(PATHS | TEXTS)
    words = [word.replace('{0}', str(place)) for word in words]
    keep = {path: path.read_bytes() for path in (
        place / 'config.py', place / 'model.pth', place / 'model.onnx',
        place / 'images' / 'a.png', place / 'data' / '000.png')}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(place)
        try:
            judge_tool('command line', tool, *words)
            lost = [path for path, content in keep.items()
                    if not path.is_file() or path.read_bytes() != content]
            read = {word.replace('{0}', str(place)) for word in COMMANDS[tool][0]}
            assert not [path for path in lost if str(path) in read & set(words)], (words, lost)
        finally:
            for path, content in keep.items():
                path.write_bytes(content)
