"""Click options that several programs share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from .tables import DEMO_CARD

Command = Callable[..., Any]

JOB_OPTIONS = (
    click.option(
        "--model", "card", type=click.Path(exists=True, dir_okay=False, path_type=Path), default=DEMO_CARD
    ),
    click.option("--size", "size_px", type=click.IntRange(min=1024), default=12_288, show_default=True),
    click.option("--slide", type=click.Path(exists=True, path_type=Path), help="Instead of a phantom."),
    click.option("--device", default="auto", show_default=True),
)

work_option = click.option(
    "--work",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="Keep slides and weights here.  [default: a temporary folder]",
)


def job_options(command: Command) -> Command:
    """Add the options of a program that runs one job: `card`, `size_px`, `slide` and `device`."""
    for option in reversed(JOB_OPTIONS):
        command = option(command)
    return command


def out_option(results: str) -> Callable[[Command], Command]:
    """Make the option --out of a program that writes `<results>.json`."""
    return click.option(
        "--out",
        type=click.Path(file_okay=False, path_type=Path),
        help=f"Folder for {results}.json; the README stays as it is.",
    )
