"""The `darefine` command: one module a subcommand."""
