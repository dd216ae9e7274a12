"""Whole jobs, resumable."""
