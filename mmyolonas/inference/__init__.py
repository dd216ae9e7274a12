"""Predicting with a PyTorch model: images in, boxes and pictures out."""
