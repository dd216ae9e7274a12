"""Labels from a trained model."""
