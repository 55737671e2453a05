"""Small measurements behind `docs/decisions/`: `python -m benchmarks.decisions.<name>` prints a table."""
