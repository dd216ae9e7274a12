"""Plots, tables and configs of what was found."""
