"""What a GPU has to prove, in stages for short leases; ``benchmarks/gpu.py`` runs them."""
