"""Whole-slide images in, pyramidal label maps out. Knows no network, no HTTP and no queue."""
