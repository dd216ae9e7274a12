"""The process that does the items; it may be killed at any moment."""
import contextlib
import gc
from typing import Any, Callable, Dict

from benchmarks.common import serve
from benchmarks.gpu.items import DONE, SKIPPED, Settings, Skip
from benchmarks.gpu.stages import STAGES


def handlers(settings: Settings) -> Dict[str, Callable[..., Any]]:
    """Return what the worker can do."""
    import torch

    import mmyolonas  # noqa: F401, applies the repairs first
    from benchmarks.gpu.machine import describe
    state = dict(stage='')

    def machine() -> dict:
        return describe(settings.device)

    def run(stage: str, key: str) -> dict:
        """Do one item and return its outcome."""
        if stage != state['stage']:  # what the stage before has kept running holds memory
            getattr(state['stage'] and STAGES[state['stage']].module, 'finish', lambda: None)()
            state['stage'] = stage
        free_memory()
        # as this project's configs have it, and the same whatever was done before
        torch.backends.cudnn.benchmark = settings.on_gpu
        try:
            return dict(status=DONE, result=STAGES[stage].module.run(key, settings))
        except Skip as reason:
            return dict(status=SKIPPED, reason=str(reason))
        finally:
            free_memory()

    return dict(machine=machine, run=run)


def free_memory() -> None:
    """Give back what an earlier item held on the GPU; its peak starts anew."""
    import torch
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        with contextlib.suppress(RuntimeError):
            torch.cuda.reset_peak_memory_stats()


def main(settings: dict) -> None:
    """Serve items until standard input ends."""
    from mmyolonas.utils.child import end_with_parent
    end_with_parent()
    serve(lambda: handlers(Settings(**settings)))
