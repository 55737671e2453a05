"""Prometheus metrics: of this process by its own counters, of the fleet by the sums in the queue server."""
