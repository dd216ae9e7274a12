"""Exported files: damaged bytes, foreign graphs, changed descriptions."""
import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mmyolonas.export.completion import complete_onnx
from mmyolonas.export.metadata import ModelMetadata
from mmyolonas.export.onnx_passes import get_metadata
from mmyolonas.runtime.runtime import Runtime
from tests.exported_models import metadata
from tests.fuzz.judge import judge, judge_tool
from tests.fuzz.mutate import changed_bytes, changed_value

PICTURE = np.random.default_rng(0).integers(0, 255, (90, 70, 3), dtype=np.uint8)
#: Errors that the runtime documents; their messages are sentences.
DOCUMENTED = (ValueError, FileNotFoundError)


@pytest.fixture(scope='module')
def files(zoo, tmp_path_factory):
    """Return a folder and the bytes of exported files."""
    paths = [zoo.file(), zoo.file(nms='none'), zoo.file('pose'), zoo.file(dynamic='shape')]
    contents = [Path(path).read_bytes() for path in paths]
    return Quiet((tmp_path_factory.mktemp('onnx'), contents))


class Quiet(tuple):
    """Megabytes that are not printed with a failing case."""

    def __repr__(self) -> str:
        return 'files'


def run(path):
    """Load a file and look for something in a picture."""
    with Runtime(str(path)) as runtime:
        return runtime(PICTURE)


@given(st.data())
def test_bytes(files, data):
    folder, contents = files
    path = folder / 'a.onnx'
    path.write_bytes(data.draw(st.sampled_from(contents).flatmap(changed_bytes)))
    judge('onnx', lambda: run(path), DOCUMENTED)
    judge('onnx', lambda: get_metadata(str(path)), DOCUMENTED)


@given(st.data())
def test_descriptions(files, data):
    folder, contents = files
    model = onnx.load_from_string(data.draw(st.sampled_from(contents)))
    props = {item.key: item.value for item in model.metadata_props}
    changed = data.draw(changed_value({key: json.loads(value) if key != 'format' else value
                                       for key, value in props.items()}))
    del model.metadata_props[:]
    for key, value in (changed.items() if isinstance(changed, dict) else ()):
        text = value if isinstance(value, str) and data.draw(st.booleans()) else json.dumps(value)
        model.metadata_props.add(key=key.encode('utf-8', 'replace').decode(),
                                 value=text.encode('utf-8', 'replace').decode())
    path = folder / 'a.onnx'
    path.write_bytes(model.SerializeToString())
    judge('onnx', lambda: run(path), DOCUMENTED)


@given(changed_value({key: json.loads(value) for key, value in metadata('pose').to_props().items()
                      if key != 'format'}))
def test_properties(changed):
    props = {key: json.dumps(value) for key, value in changed.items()} if isinstance(
        changed, dict) else {}
    props.setdefault('format', metadata('pose').to_props()['format'])
    judge('onnx', lambda: ModelMetadata.from_props(props), DOCUMENTED)


@given(st.data())
def test_changed_graphs(files, data):
    """Inputs, outputs, names, shapes and weights of others."""
    folder, contents = files
    model = onnx.load_from_string(data.draw(st.sampled_from(contents)))
    graph = model.graph
    for _ in range(data.draw(st.integers(1, 3))):
        how = data.draw(st.sampled_from(['node', 'weight', 'output', 'rename', 'input', 'nan']))
        if how == 'node' and len(graph.node) > 1:
            del graph.node[data.draw(st.integers(0, len(graph.node) - 1))]
        elif how == 'output' and graph.output:
            del graph.output[data.draw(st.integers(0, len(graph.output) - 1))]
        elif how == 'rename' and graph.output:
            graph.output[0].name = data.draw(st.text(max_size=5)).encode(
                'utf-8', 'replace').decode()
        elif how == 'input' and graph.input:
            sides = graph.input[0].type.tensor_type.shape.dim
            if sides:
                sides[data.draw(st.integers(0, len(sides) - 1))].dim_value = data.draw(
                    st.integers(-1, 200))
        elif graph.initializer:
            tensor = graph.initializer[data.draw(st.integers(0, len(graph.initializer) - 1))]
            if how == 'nan' and tensor.data_type == 1 and tensor.raw_data:
                values = np.frombuffer(tensor.raw_data, np.float32).copy()
                values[0] = np.nan
                tensor.raw_data = values.tobytes()
            elif tensor.raw_data:
                tensor.raw_data = data.draw(changed_bytes(tensor.raw_data))
    path = folder / 'a.onnx'
    path.write_bytes(model.SerializeToString())
    judge('onnx', lambda: run(path), DOCUMENTED)
    judge('onnx', lambda: complete_onnx(str(path), str(folder / 'b.onnx'), metadata('detection')),
          DOCUMENTED)


@given(st.data())
def test_tools(files, data):
    folder, contents = files
    path = folder / 'a.onnx'
    path.write_bytes(data.draw(st.sampled_from(contents).flatmap(changed_bytes)))
    picture = folder / 'a.png'
    if not picture.exists():
        import cv2
        cv2.imwrite(str(picture), PICTURE)
    judge_tool('onnx', 'tools/profile_deployed.py', path, picture, '--num', 1, '--warmup', 0)
