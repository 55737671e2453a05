"""Serve tiles: label tiles from the files of jobs, slide tiles from processes that may die."""
