"""Groups, tensors and quantise/dequantise pairs of the exported graph."""
