"""Measure whole jobs on this machine."""
