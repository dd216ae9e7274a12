"""Annotation formats and layouts of data sets, all read as COCO."""
