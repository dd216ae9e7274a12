"""From nothing to a trained and deployed model, on generated images."""
