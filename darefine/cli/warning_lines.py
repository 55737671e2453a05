"""Print the warnings of a job."""

from collections.abc import Iterable, Mapping

from rich.console import Console
from rich.text import Text


def print_warnings(console: Console, warnings: Iterable[Mapping[str, str]]) -> None:
    """Print each warning of a job or result document on a line, in yellow."""
    for warning in warnings:
        console.print(Text(f"warning ({warning['code']}): {warning['words']}", style="yellow"))
