"""Batches: many slides with the same options."""
