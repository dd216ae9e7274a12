"""From a folder of labelled images to a trained and judged model."""
