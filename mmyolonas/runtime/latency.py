"""Side by side: an exported file and the PyTorch model it was made from."""
import time
from typing import Any, Dict, List

import numpy as np


def network_latency(runtime: Any, model: Any, blob: np.ndarray,
                    repeats: int = 10) -> Dict[str, float]:
    """Return the median time of one image in both, measured in turn.

    The file's time includes suppression if its graph does; PyTorch's is that of
    the fused network with decoding.

    Args:
        runtime (Runtime): The exported file.
        model (nn.Module): The model.
        blob (ndarray): Network input of shape (1, 3, H, W).
        repeats (int): Measured runs of each, after two that are not.

    Returns:
        dict[str, float]: Milliseconds by name: the backend's and ``'PyTorch'``.
    """
    import torch

    from mmyolonas.export.fusion import prepare_model
    fused = prepare_model(model)
    head = fused.bbox_head if hasattr(fused, 'bbox_head') else fused.head
    tensor = torch.from_numpy(blob)

    @torch.no_grad()
    def forward() -> None:
        head.decode(fused.neck(fused.backbone(tensor)))

    subjects = {runtime.session.backend: lambda: runtime.infer(blob), 'PyTorch': forward}
    times: Dict[str, List[float]] = {name: [] for name in subjects}
    for index in range(repeats + 2):
        for name, run in subjects.items():
            start = time.perf_counter()
            run()
            if index >= 2:
                times[name].append(1e3 * (time.perf_counter() - start))
    return {name: float(np.median(values)) for name, values in times.items()}
