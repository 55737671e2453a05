"""Subcommands of `darefine`, one module each."""
