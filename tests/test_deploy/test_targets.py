"""Further targets: conversion in a process of its own, its description, what is the same."""
import cv2
import numpy as np
import pytest
from mmengine.config import Config

from mmyolonas.deploy.targets.driver import check_target, convert_target
from mmyolonas.deploy.targets.parity import Parity, lines, same_boxes
from mmyolonas.deploy.targets.table import TARGETS
from mmyolonas.runtime.runtime import Runtime
from mmyolonas.runtime.side_car import SideCar, Tensor, read_side_car, write_side_car
from mmyolonas.runtime.side_car_session import SideCarSession
from mmyolonas.utils.configs import load_config
from mmyolonas.utils.errors import UserError
from tests.conftest import ROOT


def test_every_target_has_recipe_session_and_config():
    from importlib import import_module

    from mmyolonas.runtime.factory import BACKENDS
    for name, target in TARGETS.items():
        assert callable(import_module(f'mmyolonas.deploy.targets.{name}').convert)
        assert (name in BACKENDS) == (target.runner == 'session')
        assert bool(target.elsewhere) == (not target.runner)
        config = load_config(str(ROOT / f'configs/deploy/detection_{name}.py'))
        assert check_target(config.backend_config,
                            config.codebase_config.post_processing.nms_type) is target


def test_what_does_not_fit_is_said_before_the_work(tmp_path):
    with pytest.raises(UserError, match='rknn takes nms_type maps or none'):
        check_target(Config(dict(type='rknn')), 'onnx')
    with pytest.raises(UserError, match='leave --onnx out'):
        check_target(Config(dict(type='coreml')), 'none', False)
    with pytest.raises(UserError, match='interpreter /no/python'):
        check_target(Config(dict(type='ncnn', python='/no/python')), 'none')


def test_same_boxes():
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 10.05], [20, 20, 40, 40]], float)
    scores, labels = np.array([0.9, 0.8, 0.7]), np.array([0, 1, 2])
    assert same_boxes(boxes, scores, labels, (boxes, scores, labels)) == 3
    assert same_boxes(boxes, scores, labels, (boxes, scores - 0.02, labels)) == 0
    assert same_boxes(boxes, scores, labels, (boxes + [0, 0, 0.2, 0], scores, labels)) == 1
    assert same_boxes(boxes, scores, np.zeros(3), (boxes, scores, labels)) == 1
    assert same_boxes(boxes, scores, labels, (boxes[:0], scores[:0], labels[:0])) == 0
    # one of ours stands for one of theirs
    assert same_boxes(boxes[:1], scores[:1], labels[:1],
                      (boxes[[0, 0]], scores[[0, 0]], labels[[0, 0]])) == 1
    first, second, third = lines(
        [Parity('a', dict(boxes=0.5), 2, 2, 2, 2), Parity('b', dict(boxes=0.1), 1, 2, 1, 2)], 'x')
    assert '0.5' in first and second.startswith('x: 3 of 4 boxes') and second.endswith('3 found')
    assert third.startswith('x: 4 of 4 nearly')
    assert len(lines([Parity('a', dict(boxes=0.5), 2, 2, 2, 2)], 'x')) == 2


def test_descriptions_beside_files(tmp_path):
    path = str(tmp_path / 'model.mnn')
    with pytest.raises(UserError, match='deploy.py'):
        read_side_car(path)
    written = SideCar({'format': 'x'}, [Tensor('input', [1, 3, 8, 8])], [Tensor('a', [1, 2, 4])])
    file = write_side_car(path, written)
    assert read_side_car(path) == written

    class Loaded(SideCarSession):
        def _run(self, feed):
            return feed

    session = Loaded(path)
    assert session.props == {'format': 'x'} and session.inputs[0].shape == (1, 3, 8, 8)
    assert session.shaped(dict(a=np.zeros((2, 4))))['a'].shape == (1, 2, 4)
    with pytest.raises(ValueError, match='convert it again'):
        session.shaped(dict(a=np.zeros(9)))
    for text in ('', '[]', '{"props": {}, "inputs": [], "outputs": []}',
                 '{"props": {}, "inputs": [{"name": "a", "shape": [-1]}], "outputs": []}'):
        (tmp_path / 'model.mnn.json').write_text(text)
        with pytest.raises(UserError):
            read_side_car(path)
    assert file.endswith('model.mnn.json')


@pytest.mark.long
def test_converted_in_another_process_and_compared(zoo, image, tmp_path):
    """The whole way, with the one converter that every environment has."""
    picture = str(tmp_path / 'a.png')
    cv2.imwrite(picture, image)
    source = zoo.file('detection', 'none')
    files, said = convert_target(Config(dict(type='opencv')), source, str(tmp_path / 'out'),
                                 images=[picture])
    assert said[0].startswith('opencv: converted with opencv') and 'boxes above' in said[-1]
    right, wanted = said[-1].split()[1:4:2]
    assert right == wanted and int(wanted) > 5
    with Runtime(files[0], 'opencv') as converted, Runtime(source) as plain:
        one, other = (model(image).above(0.25) for model in (converted, plain))
        assert len(one) == len(other) == same_boxes(
            one.boxes, one.scores, one.labels, (other.boxes, other.scores, other.labels))
    assert sorted(path.name for path in (tmp_path / 'out').iterdir()) == [
        files[0].rsplit('/', 1)[1]]
    try:
        import pnnx  # noqa: F401
    except ImportError:
        with pytest.raises(UserError, match='pip install pnnx'):
            convert_target(Config(dict(type='ncnn')), source, str(tmp_path / 'out'))
    with pytest.raises(ValueError, match='free sides'):
        convert_target(Config(dict(type='opencv')), zoo.file('detection', 'none', 'batch'),
                       str(tmp_path / 'out'))


def test_opencv_refuses_what_it_does_wrongly(zoo):
    with pytest.raises(UserError, match='suppresses'):
        Runtime(zoo.file('detection', 'onnx'), 'opencv')
