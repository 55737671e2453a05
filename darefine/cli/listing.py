"""Print lists whose first column is an id to copy."""

import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Column, Table

ENDLESS = 100_000
"""Width of what is not a terminal: a pipe cuts no line."""


def print_rows(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows of text under headings; the first column is never cut, the others fold in a terminal."""
    first, *others = headings
    table = Table(
        Column(first, no_wrap=True),
        *(Column(heading, overflow="fold") for heading in others),
        box=None,
        pad_edge=False,
    )
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else ENDLESS, markup=False, highlight=False).print(table)
