"""What a GPU has to prove, in stages that fit into short leases; for ``benchmarks/gpu.py``."""
