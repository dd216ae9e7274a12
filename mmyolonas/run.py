r"""Run another package's script with mmyolonas imported first.

``python -m mmyolonas.run SCRIPT [ARGS ...]`` does what ``python SCRIPT`` does,
after ``import mmyolonas``. That matters in two cases: the script imports
``mmcv.ops`` before it reads a config and mmcv is mmcv-lite (mmdet's
``tools/test.py``), or the config inherits from ``mmyolonas::...`` (mmengine
must know the package before it parses the config). SCRIPT is a file, or
``package::tools/x.py`` for a tool that an installed mm package ships::

    python -m mmyolonas.run mmdet::tools/test.py CONFIG CHECKPOINT
    torchrun --nproc_per_node 8 -m mmyolonas.run mmdet::tools/train.py \\
        CONFIG --launcher pytorch

SCRIPT may also be a command that an installed package brings, such as ``sahi``, which then
knows the model type ``mmyolonas``::

    python -m mmyolonas.run sahi predict --model_type mmyolonas \\
        --model_path end2end.onnx --source images/ --slice_height 320 --slice_width 320
"""
import importlib.metadata
import importlib.util
import os
import runpy
import sys
from pathlib import Path

import mmyolonas  # noqa: F401, applies the repairs


def find_script(script: str) -> Path:
    """The file that ``script`` names.

    Args:
        script: A path, or ``package::path`` below the package's ``.mim``.

    Raises:
        FileNotFoundError: There is no such file or package.
    """
    package, separator, inside = script.partition('::')
    if not separator:
        path = Path(script)
    else:
        spec = importlib.util.find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            raise FileNotFoundError(f"package '{package}' is not installed")
        path = Path(spec.submodule_search_locations[0]) / '.mim' / inside
    if not path.is_file():
        raise FileNotFoundError(f"no script '{path}'")
    return path


def find_command(name: str) -> importlib.metadata.EntryPoint | None:
    """The command of an installed package, unless ``name`` is a file.

    Args:
        name: Name of a console script.
    """
    if '::' in name or Path(name).is_file():
        return None
    found = importlib.metadata.entry_points(group='console_scripts', name=name)
    return next(iter(found), None)


def main(argv: list[str]) -> None:
    """Run ``argv[0]`` with the arguments that follow it."""
    if not argv or argv[0] in ('-h', '--help'):
        print(__doc__)
        return
    command = find_command(argv[0])
    if command is not None:
        sys.argv = list(argv)
        sys.exit(command.load()())
    try:
        path = find_script(argv[0])
    except FileNotFoundError as error:
        sys.exit(f'mmyolonas.run: {error}')
    sys.argv = [str(path), *argv[1:]]
    sys.path.insert(0, os.fspath(path.resolve().parent))
    runpy.run_path(str(path), run_name='__main__')


if __name__ == '__main__':
    main(sys.argv[1:])
