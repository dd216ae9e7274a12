"""Several processes on a machine without GPUs, which mmengine does not reckon with."""


def init_processes_on_cpu(launcher: str, **options) -> None:
    """Connect the processes of a launcher through gloo.

    mmengine's ``init_dist`` reads the launcher's environment and then chooses a
    GPU, also where there is none; that call is left out. A runner that is made
    afterwards finds the processes connected and does nothing.

    Args:
        launcher (str): 'pytorch', 'slurm' or 'mpi'.
        **options: Further arguments of ``init_dist``, such as ``timeout``.
    """
    import torch
    from mmengine.dist import init_dist, is_distributed
    if is_distributed():
        return
    set_device = torch.cuda.set_device
    torch.cuda.set_device = lambda device: None
    try:
        init_dist(launcher, **{**options, 'backend': 'gloo'})
    finally:
        torch.cuda.set_device = set_device
