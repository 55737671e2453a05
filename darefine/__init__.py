"""Command line `darefine`, which puts the packages together."""
