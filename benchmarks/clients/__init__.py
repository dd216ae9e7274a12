"""Clients that others wrote, run on one model; see ``benchmarks/clients.py``."""
