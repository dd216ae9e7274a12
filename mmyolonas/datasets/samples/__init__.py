"""Data sets that are drawn: shapes, textures, figures."""
