"""Command `darefine phantom`: write a synthetic slide with its truth."""

from pathlib import Path

import click

from wsi.phantom import LATEST, Version, write_phantom

from .progress_bar import progress_bar

version_option = click.option(
    "--version",
    type=click.IntRange(1, LATEST),
    default=LATEST,
    show_default=True,
    help="Of the phantom. In 2 a slice says something of its class; in 1, an older one, nothing.",
)


@click.command()
@click.argument("out", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "--size",
    "size_px",
    type=click.IntRange(min=1024),
    default=20_480,
    show_default=True,
    help="Side, level-0 pixels.",
)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed gives the same slide.")
@click.option(
    "--tissue",
    type=click.FloatRange(0, 1, min_open=True),
    default=0.7,
    show_default=True,
    help="Fraction of the slide that is tissue.",
)
@version_option
def phantom(out: Path, *, size_px: int, seed: int, tissue: float, version: Version) -> None:
    """Write a synthetic H&E-like slide to OUT (a pyramidal TIFF) and its truth beside it.

    For trying the software: it imitates no real tissue.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    with progress_bar() as show:
        files = write_phantom(
            out,
            size_px=size_px,
            seed=seed,
            tissue_fraction=tissue,
            version=version,
            progress=lambda share: show("render", share),
        )
    click.echo(f"slide {files.slide}\ntruth {files.truth}\ntruth in colours {files.truth_overlay}")
