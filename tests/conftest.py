"""What every test starts from: fixed seeds, no default scope, no display."""
import gc
import os
import random
import sys
import time
from functools import lru_cache
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from types import SimpleNamespace

os.environ.setdefault('MPLBACKEND', 'Agg')
# The programs that tests start would compile torch and mmdet each, 9 s of CPU time.
os.environ.pop('PYTHONDONTWRITEBYTECODE', None)
sys.dont_write_bytecode = False
# OpenVINO reports its use over the network, from copies of the process; without this package not.
sys.modules['openvino_telemetry'] = None

import mmyolonas  # noqa: E402, F401, I001, before any host package
import numpy as np  # noqa: E402
import pytest  # noqa: E402
import torch  # noqa: E402
from mmengine.dataset import base_dataset  # noqa: E402
from mmengine.runner import runner  # noqa: E402

from tests.exported_models import image, zoo  # noqa: E402, F401, fixtures of several folders

ROOT = Path(__file__).resolve().parent.parent


#: What `make env` installs and the other environments may lack.
OPTIONAL = ('mmdeploy', 'mmdeploy_runtime', 'mmpose', 'modelopt', 'openvino', 'optuna',
            'tensorrt_rtx', 'xtcocotools')


def skip_if_lacking(error) -> None:
    """Skip a test that failed because an optional package is not installed."""
    while error is not None:
        package = (getattr(error, 'name', None) or '').split('.')[0]
        if isinstance(error, ImportError) and package in OPTIONAL and find_spec(package) is None:
            pytest.skip(f'needs {package}, which is not in this environment')
        error = error.__cause__ or error.__context__


def known_seconds() -> dict:
    """Return the time of every long test function by its name."""
    lines = (ROOT / 'tests' / 'long.txt').read_text().splitlines()
    rows = (line.split() for line in lines if not line.startswith('#'))
    return {name: float(seconds) for seconds, name in rows}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark what is known to be long, and start with the files that take longest, so that
    processes end at the same time."""
    known, files = known_seconds(), {}
    for item in items:
        name = item.nodeid.partition('[')[0]
        files.setdefault(item.path, {})[name] = known.get(name, 0)
        if name in known and not item.get_closest_marker('slow'):
            item.add_marker('long')
    seconds = {path: sum(names.values()) for path, names in files.items()}
    items.sort(key=lambda item: -seconds[item.path])


@pytest.hookimpl(trylast=True)
def pytest_collection_finish():
    """Leave what is imported, a million objects, out of garbage collections.

    mmengine makes one for each data set, to give back what a long list of annotations took: half
    a second for ten tiny images.
    """
    gc.collect()
    gc.freeze()
    base_dataset.gc = SimpleNamespace(collect=lambda: 0)
    runner.collect_env = lru_cache(runner.collect_env)  # it asks compilers, for every runner
    # two runners of one second would share their message hub: each begins a second later
    starts = count()
    runner.time = SimpleNamespace(**{**vars(time), 'time': lambda: time.time() + next(starts)})


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item):
    try:
        return (yield)
    except Exception as error:
        skip_if_lacking(error)
        raise


pytest_runtest_call = pytest_runtest_setup


@pytest.fixture(autouse=True)
def fixed_seeds():
    """The same random numbers in every test, whatever ran before it."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)


@pytest.fixture(autouse=True)
def no_default_scope():
    """Undo the default scope a test sets, or the next one inherits it."""
    from mmengine.registry import DefaultScope
    DefaultScope._instance_dict.clear()
    yield
    DefaultScope._instance_dict.clear()


@pytest.fixture(scope='session')
def data_root() -> Path:
    """Folder of the real data sets; the test is skipped where there is none."""
    folder = Path(os.environ.get('MMYOLONAS_DATA', ROOT.parent / 'shared' / 'data'))
    if not folder.is_dir():
        pytest.skip(f'no data sets in {folder}; set MMYOLONAS_DATA to their folder')
    return folder
