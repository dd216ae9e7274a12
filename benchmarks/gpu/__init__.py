"""What a GPU has to prove, in stages that fit into short leases; ``benchmarks/gpu.py`` runs them."""
