"""What docs/en/architecture.md says of floors, files and examples holds."""
import ast
import re

import pytest

from tests.conftest import ROOT

TEXT = (ROOT / 'docs' / 'en' / 'architecture.md').read_text(encoding='utf-8')
STEP = re.compile(r'^\| \d+ \| (.*) \| `(mmyolonas/\S+\.py)` \|$', re.M)


def test_floors_are_those_of_the_linter():
    tomllib = pytest.importorskip('tomllib', reason='reading TOML needs Python 3.11')
    contracts = tomllib.loads((ROOT / 'pyproject.toml').read_text())['tool']['importlinter'][
        'contracts']
    floors = [set(re.findall(r'\w+', layer)) for layer in contracts[0]['layers']]
    rows = re.findall(r'^\| \d \| ((?:`\w+`(?:, )?)+) \|', TEXT, re.M)
    assert [set(re.findall(r'\w+', row)) for row in rows] == floors


@pytest.mark.parametrize('what, path', STEP.findall(TEXT))
def test_steps_name_what_is_in_their_file(what, path):
    tree = ast.parse((ROOT / path).read_text())
    names = {node.name for node in ast.walk(tree) if isinstance(node, (ast.ClassDef,
                                                                       ast.FunctionDef))}
    first = re.search(r'`([\w.]+)`', what)[1]
    assert set(first.split('.')) <= names


def test_both_ways_have_their_steps():
    assert len(STEP.findall(TEXT)) == 19


def test_examples_run(tmp_path, monkeypatch):
    """One behind the other, in a folder that has the configs."""
    pytest.importorskip('onnxruntime', reason='the example of a runtime needs onnxruntime')
    (tmp_path / 'configs').symlink_to(ROOT / 'configs')
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r'```python\n(.*?)```', TEXT, re.S)
    assert len(examples) == 4
    from mmyolonas.registry import MODELS
    names = dict(__name__='examples')
    try:
        for number, example in enumerate(examples):
            exec(compile(example, f'example {number}', 'exec'), names)
    finally:
        for name in ('PlainBackbone', 'SoftFocalLoss'):
            MODELS.module_dict.pop(name, None)
    assert (tmp_path / 'plain.onnx').is_file() and (tmp_path / 'csv_data').is_dir()
