"""A process with one implementation: sets up a training step on the device and times it."""
import gc
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
sys.path[:] = [p for p in sys.path if Path(p or '.').resolve() != Path(__file__).resolve().parent]

from benchmarks.common import PeakMemory, serve, timed  # noqa: E402


def build_handlers() -> Dict[str, Callable[..., Any]]:
    """Return what the process can do."""
    import torch
    state: Dict[str, Any] = {}

    def wait() -> None:
        if state['device'].startswith('cuda'):
            torch.cuda.synchronize()

    def setup(name: str, problem: dict, warmup: int) -> dict:
        """Prepare a step; returns its loss and the peak memory of a step in MiB."""
        release()
        torch.manual_seed(0)
        state['device'] = problem['device']
        if state['device'].startswith('cuda'):  # as mmengine's configs of this project ask for
            torch.backends.cudnn.benchmark = True
        state['step'] = make_step(name, problem)
        loss = state['step']()
        for _ in range(warmup):
            state['step']()
        found = dict(loss=loss, peak_mib=peak_of(state['step'], state['device']),
                     torch=torch.__version__)
        if state['device'].startswith('cuda'):
            torch.cuda.empty_cache()
        return found

    def time(repeats: int) -> List[float]:
        """Return the mean seconds of a step, in a list; the device is done at both ends.

        Activations are held during the steps alone, so that a large batch of all implementations
        fits on one card; a first step that takes the memory again is not timed.
        """
        def steps() -> None:
            for _ in range(repeats):
                state['step']()
            wait()

        if state['device'].startswith('cuda'):
            state['step']()
        wait()
        seconds = timed(steps)[0] / repeats
        if state['device'].startswith('cuda'):
            torch.cuda.empty_cache()
        return [seconds]

    def release() -> None:
        """Give the memory back."""
        state.clear()
        if 'torch._dynamo' in sys.modules:  # else the next batch size is compiled for any size
            torch._dynamo.reset()
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    return dict(setup=setup, time=time, release=release)


def peak_of(step: Callable[[], float], device: str) -> float:
    """Return the peak memory of a step in MiB."""
    import torch
    if not device.startswith('cuda'):
        memory = PeakMemory()
        step()
        return memory.read()
    torch.cuda.reset_peak_memory_stats()
    step()
    return torch.cuda.max_memory_allocated() / 2**20


def make_step(name: str, problem: dict) -> Callable[[], float]:
    """Return a training step of an implementation."""
    problem = dict(problem)
    arch = problem.pop('arch')
    if not arch.startswith('pose'):
        from benchmarks.detectors import IMPLEMENTATIONS, Problem
        return IMPLEMENTATIONS[name](Problem(arch=arch, **problem)).step()
    from benchmarks.pose_models import RTMO, YOLONASPose
    from benchmarks.pose_models import Problem as PoseProblem
    channels_last = problem.pop('memory_format', '') == 'channels_last'
    made = PoseProblem(arch=arch[-1], channels_last=channels_last, **problem)
    return (RTMO if name == 'rtmo-s' else YOLONASPose)(made).step()


if __name__ == '__main__':
    serve(build_handlers)
