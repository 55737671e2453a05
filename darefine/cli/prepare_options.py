"""Options that several `darefine prepare` commands have."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from model.data.slices import PAPER_INPUT

F = TypeVar("F", bound=Callable[..., Any])

DEFAULT_FOLDER = "darefine-index"
"""Folder of the index below that of the slides, where none is named."""

index_option = click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    metavar="INDEX_DIR",
    help=f"Folder for index.json and the truths.  [default: DIR/{DEFAULT_FOLDER}]",
)

mpp_option = click.option(
    "--mpp",
    type=click.FloatRange(0.05, 5),
    default=PAPER_INPUT.mpp,
    show_default=True,
    help="Pixel size of slices, um/px.",
)

seed_option = click.option(
    "--seed",
    type=click.IntRange(min=0),
    default=1,
    show_default=True,
    help="Of the slices and of drawn splits.",
)


def context_option(default: int) -> Callable[[F], F]:
    """Make the option --context-ratio; phantoms are told apart at a coarser one than the paper's."""
    return click.option(
        "--context-ratio",
        type=click.IntRange(1, 32),
        default=default,
        show_default=True,
        help="Pixel size of the context over that of slices.",
    )
