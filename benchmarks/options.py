"""The options of programs that run a job of one model on one slide."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .tables import DEMO_CARD

OPTIONS = (
    click.option(
        "--model", "card", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=DEMO_CARD
    ),
    click.option("--size", "size_px", type=click.IntRange(min=1024), default=12_288, show_default=True),
    click.option("--slide", type=click.Path(exists=True, path_type=Path), help="Instead of a phantom."),
    click.option("--device", default="auto", show_default=True),
)


def job_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command `card`, `size_px`, `slide` and `device`."""
    for option in reversed(OPTIONS):
        command = option(command)
    return command
