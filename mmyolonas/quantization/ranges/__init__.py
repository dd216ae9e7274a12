"""Ranges of tensors: calibration, fake quantisation, quantisation-aware training."""
