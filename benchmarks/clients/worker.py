"""``python -m benchmarks.clients.worker JOB RESULT``: run one client in this interpreter.

The job is JSON: ``row``, ``file``, ``config``, ``checkpoint``, ``images``, ``feeds`` (``.npz``),
``outputs`` (names) and what else the row needs; the result is JSON beside ``.npz`` of outputs.
"""
import importlib
import json
import sys
import traceback
from pathlib import Path
from typing import Any, Dict

import numpy as np

from benchmarks.clients.rows import ROWS


def work(job: Dict[str, Any], result_path: str) -> Dict[str, Any]:
    """Run the row; return what the driver reads."""
    row = ROWS[job['row']]
    if row.gives != 'tensors':  # whose environments need not have it
        importlib.import_module('mmyolonas')  # first of all: it makes mmcv-lite enough for mmdet
    module, _, name = row.function.partition(':')
    function = getattr(importlib.import_module(f'benchmarks.clients.{module}'), name)
    if row.gives != 'tensors':
        return dict(found=function(job))
    with np.load(job['feeds'], allow_pickle=False) as stored:
        feeds = [stored[str(index)] for index in range(len(stored.files))]
    path = f'{result_path}.npz'
    np.savez(path, **{f'{index}/{key}': value
                      for index, outputs in enumerate(function(job, feeds))
                      for key, value in outputs.items()})
    return dict(tensors=path)


def main() -> None:
    """Run one job; what goes wrong is told in the result."""
    job_path, result_path = sys.argv[1:]
    try:
        result = work(json.loads(Path(job_path).read_text('utf-8')), result_path)
    except Exception as error:  # clients raise anything
        traceback.print_exc()
        text = ' '.join(str(error).split())
        result = dict(error=f'{type(error).__name__}: {text[:160]}')
    Path(result_path).write_text(json.dumps(result), 'utf-8')


if __name__ == '__main__':
    main()
