"""Model repositories: what Triton and OpenVINO Model Server read, version by version."""
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from mmyolonas.deploy.serving import ServeOptions, write_repository
from mmyolonas.export.metadata import ModelMetadata
from mmyolonas.runtime import convert_openvino
from mmyolonas.utils.errors import UserError
from tests.exported_models import pixels


def parse(text):
    """Read protobuf's text format, as far as config.pbtxt goes: names to lists of values."""
    tokens = re.findall(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]|[\w.-]+', text)
    place = 0

    def value():
        nonlocal place
        token, place = tokens[place], place + 1
        if token == '[':
            items = []
            while tokens[place] != ']':
                items.append(value())
                place += tokens[place] == ','
            place += 1
            return items
        return message('}') if token == '{' else (
            json.loads(token) if token[0] in '"-0123456789' else token)

    def message(end):
        nonlocal place
        found = {}
        while place < len(tokens) and tokens[place] != end:
            name, place = tokens[place], place + 1
            place += tokens[place] == ':'
            found.setdefault(name, []).append(value())
        place += 1
        return found

    return message(None)


def test_triton_gets_batches_and_versions(zoo, tmp_path):
    path = zoo.file('detection', 'onnx', 'batch')
    options = ServeOptions('triton', str(tmp_path / 'models'), 'cells.v1', 4, 3.)
    files, said = write_repository(options, path, 'onnxruntime', path)
    folder = tmp_path / 'models' / 'cells.v1'
    assert {Path(file).relative_to(folder).as_posix() for file in files} == {
        'config.pbtxt', '1/model.onnx'}
    assert (folder / '1/model.onnx').read_bytes() == Path(path).read_bytes()
    told = parse((folder / 'config.pbtxt').read_text())
    assert (told['name'], told['backend'], told['max_batch_size']) == (
        ['cells.v1'], ['onnxruntime'], [4])
    assert told['input'] == [[dict(name=['input'], data_type=['TYPE_FP32'], dims=[[3, 96, 128]])]]
    assert told['output'] == [[
        dict(name=['dets'], data_type=['TYPE_FP32'], dims=[[50, 5]]),
        dict(name=['labels'], data_type=['TYPE_INT64'], dims=[[50]])]]
    batching, = told['dynamic_batching']
    assert batching['max_queue_delay_microseconds'] == [3000]
    assert batching['default_queue_policy'][0]['max_queue_size'] == [64]
    props = {item['key'][0]: item['value'][0]['string_value'][0] for item in told['parameters']}
    assert ModelMetadata.from_props(props).class_names == ['ape', 'bee', 'cat']
    assert len(said) == 1 and 'version 1' in said[0]
    assert 'there already' in write_repository(options, path, 'onnxruntime', path)[1][-1]
    other = zoo.file('detection', 'none', 'batch')
    assert 'version 2' in write_repository(options, other, 'onnxruntime', other)[1][-1]
    assert sorted(item.name for item in folder.iterdir()) == ['1', '2', 'config.pbtxt']
    told = parse((folder / 'config.pbtxt').read_text())
    assert [port['name'][0] for port in told['output'][0]] == ['boxes', 'scores']


@pytest.mark.parametrize('nms, dynamic', [('onnx', 'none'), ('flat', 'batch')])
def test_what_triton_cannot_put_together_is_said(zoo, tmp_path, nms, dynamic):
    path = zoo.file('detection', nms, dynamic)
    options = ServeOptions('triton', str(tmp_path), 'cells')
    said = write_repository(options, path, 'onnxruntime', path)[1]
    assert 'one image a request' in said[0]
    told = parse((tmp_path / 'cells/config.pbtxt').read_text())
    assert told['max_batch_size'] == [0] and 'dynamic_batching' not in told
    assert told['input'][0][0]['dims'] == [[1 if dynamic == 'none' else -1, 3, 96, 128]]
    if nms == 'flat':
        assert told['input'][0][0]['data_type'] == ['TYPE_UINT8']


def test_an_engine_allows_what_its_profile_does(zoo, tmp_path):
    path, engine = zoo.file('detection', 'none', 'batch'), tmp_path / 'end2end.engine'
    engine.write_bytes(b'engine')
    write_repository(ServeOptions('triton', str(tmp_path / 'm'), 'cells', 16), str(engine),
                     'tensorrt', path, 4)
    told = parse((tmp_path / 'm/cells/config.pbtxt').read_text())
    assert told['backend'] == ['tensorrt'] and told['max_batch_size'] == [4]
    assert (tmp_path / 'm/cells/1/model.plan').read_bytes() == b'engine'


def test_openvino_loads_its_layout(zoo, tmp_path):
    """By config.json, the newest version, with the names that clients ask for."""
    openvino = pytest.importorskip('openvino')
    path = zoo.file('detection', 'none', 'batch')
    xml = convert_openvino(path, str(tmp_path / 'end2end.xml'))
    models = tmp_path / 'models'
    models.mkdir()
    (models / 'config.json').write_text(json.dumps(dict(
        monitoring=dict(metrics=dict(enable=True)), model_config_list=[
            dict(config=dict(name='other', base_path='/other')),
            dict(config=dict(name='cells', base_path='cells', nireq=3))])))
    write_repository(ServeOptions('ovms', str(models), 'cells'), xml, 'openvino', path)
    told = json.loads((models / 'config.json').read_text())
    assert told['monitoring'] == dict(metrics=dict(enable=True))
    other, ours = (item['config'] for item in told['model_config_list'])
    assert other == dict(name='other', base_path='/other') and ours['nireq'] == 3
    newest = max((models / ours['base_path']).glob('[1-9]*'), key=lambda item: int(item.name))
    assert sorted(os.listdir(newest)) == ['model.bin', 'model.xml']
    core = openvino.Core()
    read = core.read_model(str(newest / 'model.xml'))
    assert [port.get_any_name() for port in read.outputs] == ['boxes', 'scores']
    model = core.compile_model(read, ours['target_device'], ours['plugin_config'])
    image = pixels(2, 96, 128)
    expected = zoo.decoded('detection', image)
    found = model({'input': image})
    for name in ('boxes', 'scores'):
        assert np.abs(found[model.output(name)] - expected[name]).max() < 0.01


def test_what_cannot_be_served_is_said_before_the_work(tmp_path):
    with pytest.raises(UserError, match='triton or ovms'):
        ServeOptions('tritan', str(tmp_path), 'a').check('onnxruntime')
    with pytest.raises(UserError, match='ovms serves files of openvino'):
        ServeOptions('ovms', str(tmp_path), 'a').check('onnxruntime')
    with pytest.raises(UserError, match='not of ncnn'):
        ServeOptions('triton', str(tmp_path), 'a').check('ncnn')
    for name in ('', '../a', 'a b', '.a'):
        with pytest.raises(UserError, match='--model-name'):
            ServeOptions('triton', str(tmp_path), name).check('onnxruntime')
    (tmp_path / 'config.json').write_text('{"model_config_list": [{"config": {}}]}')
    with pytest.raises(UserError, match='OpenVINO Model Server'):
        ServeOptions('ovms', str(tmp_path), 'a').check('openvino')
    ServeOptions('triton', str(tmp_path), 'a').check('onnxruntime')
