"""Measure a service that many clients use at once."""
