"""Searches on optuna."""
