"""Slides with truth as training and evaluation data, read through wsi."""
