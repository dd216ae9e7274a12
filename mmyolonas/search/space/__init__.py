"""The space of architectures."""
