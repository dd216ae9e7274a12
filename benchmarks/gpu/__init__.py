<<<<<<< HEAD
"""What a GPU has to prove, in stages for short leases; ``benchmarks/gpu.py`` runs them."""
=======
"""What a GPU has to prove, in stages that fit into short leases; for ``benchmarks/gpu.py``."""
>>>>>>> gpu
