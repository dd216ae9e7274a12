"""What is installed: version, configs and tools, from a wheel and a checkout."""
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from mmengine.config import Config

import mmyolonas
from tests.test_compat import run_python

ROOT = Path(__file__).resolve().parent.parent
PARTS = ('mmyolonas', 'configs', 'tools', 'demo', 'pyproject.toml', 'MANIFEST.in', 'LICENSE',
         'README.md', 'model-index.yml')


@pytest.fixture(scope='module')
def wheel(tmp_path_factory) -> Path:
    """A wheel of this checkout, unpacked; built offline and outside of it."""
    pytest.importorskip('setuptools', minversion='77')
    source, target = tmp_path_factory.mktemp('source'), tmp_path_factory.mktemp('wheel')
    for name in PARTS:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, symlinks=True,
                            ignore=shutil.ignore_patterns('__pycache__'))
        elif path.exists():
            shutil.copy(path, source / name)
    build = 'from setuptools import build_meta; build_meta.build_wheel("dist")'
    subprocess.run([sys.executable, '-W', 'ignore', '-c', build], cwd=source, check=True,
                   capture_output=True, timeout=120)
    file, = (source / 'dist').glob('*.whl')
    assert file.name == f'mmyolonas-{mmyolonas.__version__}-py3-none-any.whl'
    with zipfile.ZipFile(file) as archive:
        archive.extractall(target)
    return target


def relative_files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob('*')
            if path.is_file() and '__pycache__' not in path.parts}


def test_version_is_in_one_place():
    assert re.fullmatch(r'\d+\.\d+\.\d+.*', mmyolonas.__version__)
    hits = [path for path in (ROOT / 'pyproject.toml', *(ROOT / 'mmyolonas').rglob('*.py'))
            if re.search(r'(?m)^(__version__|version) = [\'"]', path.read_text())]
    assert hits == [ROOT / 'mmyolonas' / 'version.py']


def test_wheel_holds_every_config_tool_and_module(wheel):
    mim = wheel / 'mmyolonas' / '.mim'
    for name in ('configs', 'tools', 'demo'):
        assert relative_files(mim / name) == relative_files(ROOT / name), name
    assert not any(path.is_symlink() for path in mim.rglob('*'))
    assert (wheel / 'mmyolonas' / 'py.typed').is_file()  # or users' checkers see no types
    modules = {name for name in relative_files(ROOT / 'mmyolonas') if name.endswith('.py')}
    packed = {name for name in relative_files(wheel / 'mmyolonas') if not name.startswith('.mim')}
    assert {name for name in modules if not name.startswith('.mim')} <= packed


def test_wheel_metadata(wheel):
    metadata = next(wheel.glob('*.dist-info')) / 'METADATA'
    lines = metadata.read_text().splitlines()
    assert 'License-Expression: Apache-2.0' in lines and 'Requires-Python: >=3.10' in lines
    extras = {line.split()[1] for line in lines if line.startswith('Provides-Extra')}
    assert extras == {'openmmlab', 'onedl', 'pose', 'deploy', 'quant', 'search', 'serve', 'clients',
                      'docs', 'dev'}
    required = [line for line in lines if line.startswith('Requires-Dist') and 'extra' not in line]
    assert not [line for line in required if re.search(r'mmcv|mmdet|mmengine|opencv', line)]


LOOK_UP = '''
    import mmyolonas
    from mmengine.config import Config
    from mmengine.hub import get_config
    child = {folder!r} + '/child.py'
    open(child, 'w').write("_base_ = 'mmyolonas::yolonas/yolonas_s_coco.py'")
    model = Config.fromfile(child).model
    assert model.type == 'mmyolonas.YOLONAS' and '_scope_' not in model
    assert get_config('mmyolonas::yolonas/yolonas_s_coco.py').model.type == 'mmyolonas.YOLONAS'
    print(mmyolonas.__file__)
'''


@pytest.mark.long
def test_configs_are_found_in_a_wheel(wheel, tmp_path):
    out = run_python(LOOK_UP.format(folder=str(tmp_path)), wheel)
    assert out.strip() == str(wheel / 'mmyolonas' / '__init__.py')


@pytest.mark.long
def test_configs_are_found_in_a_checkout(tmp_path):
    out = run_python(LOOK_UP.format(folder=str(tmp_path)))
    assert out.strip() == str(ROOT / 'mmyolonas' / '__init__.py')


def test_model_index_names_configs_that_exist():
    from mmengine.fileio import load
    index = load(ROOT / 'model-index.yml')
    names = set()
    for file in index['Import']:
        for model in load(ROOT / file)['Models']:
            assert (ROOT / model['Config']).is_file(), model['Config']
            assert model['Name'] not in names
            names.add(model['Name'])
    assert {'yolonas_s_coco', 'yolonas_m_coco', 'yolonas_l_coco'} <= names


def test_inferencer_finds_models_by_name():
    from mmengine.infer import BaseInferencer
    assert 'yolonas_s_coco' in BaseInferencer.list_models('mmyolonas', 'yolonas_s.*')


@pytest.mark.parametrize('name', ['env', 'test', 'test-classic', 'test-onedl', 'lint',
                                  'docs', 'quickstart'])
def test_makefile_has_target(name):
    if shutil.which('make') is None:
        pytest.skip('no make here')
    done = subprocess.run(['make', '--dry-run', name], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_config_parses():
    """Each config parses by itself, base files included."""
    files = [path for path in (ROOT / 'configs').rglob('*.py') if '_base_' not in path.parts]
    assert files
    for path in files:
        assert Config.fromfile(path, import_custom_modules=False), path
