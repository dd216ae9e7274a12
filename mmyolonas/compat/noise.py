"""What other packages say about themselves and a user of ours cannot act on.

The one list of it. A message is named by its text and by the module that says
it; whatever else that module says is heard. It holds in every process that
imports mmyolonas: tools, their children and the workers that load data.
"""
import functools
import logging
import re
import warnings
from types import ModuleType

from mmyolonas.compat.core import after_import, repair

#: Warnings: start of the message, module that is warned (both regular expressions).
WARNINGS = (
    # mmengine and mmdeploy ask it for versions, mmengine reloads it each time
    ('pkg_resources is deprecated as an API', r'(mmengine|mmdeploy|mmcv|importlib)\b'),
    # of mmdet's point generator
    ('torch.meshgrid: in an upcoming release', r'torch\.functional'),
)

_COCO = (r'loading annotations into memory|creating index|index created!|DONE \(t=|Done \(t=|'
         r'Loading and preparing results')
_COCOEVAL = (r'Running per image evaluation|Evaluate annotation type|'
             r'Accumulating evaluation results|DONE \(t=')

#: What is printed or logged: module, the function it calls for that, start of the message.
SPOKEN = (
    ('pycocotools.coco', 'print', _COCO),
    ('pycocotools.cocoeval', 'print', _COCOEVAL),
    ('xtcocotools.coco', 'print', _COCO),
    ('xtcocotools.cocoeval', 'print', _COCOEVAL),
    ('mmdet.datasets.api_wrappers.coco_api', 'print', _COCO),
    ('mmdet.datasets.api_wrappers.cocoeval_mp', 'print', _COCOEVAL),
    # mmengine's own hooks are what uses the old names
    ('mmengine.fileio.file_client', 'print_log',
     '"(FileClient|HardDiskBackend)" (will be deprecated|is the alias)'),
    # said a second time, with a date, by the runner
    ('mmengine.runner.checkpoint', 'print_log', r'Loads checkpoint by \w+ backend'),
    # it writes a file and has no metrics whose names could clash
    ('mmengine.evaluator.metric', 'print_log',
     r'The prefix is not set in metric class (Atomic)?DumpResults'),
)

#: What is logged through Python's own logging: logger, start of the message.
LOGGED = (
    # torch, where it is made for CUDA and there is no GPU; the doctor lists devices
    ('torch.utils.cpp_extension', 'No CUDA runtime is found'),
)


def _hush(module: ModuleType, name: str, pattern: str) -> None:
    """Let a module call ``name`` for everything but the messages of a pattern."""
    say, known = getattr(module, name, print), re.compile(pattern)

    def say_the_rest(*args, **kwargs) -> None:
        if not (args and isinstance(args[0], str) and known.match(args[0])):
            say(*args, **kwargs)

    setattr(module, name, say_the_rest)


def _is_new(record: logging.LogRecord, pattern: str) -> bool:
    return re.match(pattern, record.getMessage()) is None


@repair('messages of other packages', 'every pycocotools, xtcocotools and mmengine')
def _keep_quiet() -> str | None:
    for message, module in WARNINGS:
        warnings.filterwarnings('ignore', message=message, module=module)
    for module, function, pattern in SPOKEN:
        after_import(
            module, lambda found, name=function, known=pattern: _hush(found, name, known))
    for logger, pattern in LOGGED:
        logging.getLogger(logger).addFilter(functools.partial(_is_new, pattern=pattern))
    return ('pycocotools prints how it reads files, mmengine warns of names that it uses itself; '
            'warnings that a user can act on are not concerned')
