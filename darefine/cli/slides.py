"""Commands `darefine slides ...`: the slides of a service."""

import json

import click

from darefine.client import Client, Slide

from .connect import act_on_each, connected, url_option
from .listing import print_rows


@click.group()
def slides() -> None:
    """List or remove slides of a service."""


@slides.command("list")
@url_option
@click.option("--json", "as_json", is_flag=True, help="Print JSON, nothing else.")
def list_slides(url: str, as_json: bool) -> None:
    """List slides, newest first."""
    with connected(url) as client:
        found = client.slides()
    if as_json:
        click.echo(json.dumps([slide.document() for slide in found], indent=1))
        return
    print_rows(("slide", "MB", "px", "um/px", "from", "sha256", "name"), map(row_of, found))


@slides.command()
@click.argument("slide_ids", nargs=-1, required=True, metavar="SLIDE...")
@url_option
def rm(slide_ids: tuple[str, ...], url: str) -> None:
    """Remove slides from the service; results stay, and so do files that are read in place."""
    with connected(url) as client:
        act_on_each(slide_ids, lambda slide_id: remove(client, slide_id))


def remove(client: Client, slide_id: str) -> str:
    """Remove a slide and say so."""
    client.delete_slide(slide_id)
    return "removed"


def row_of(slide: Slide) -> tuple[str, ...]:
    """Return the cells of one slide."""
    return (
        slide.id,
        f"{slide.bytes / 1e6:.1f}",
        f"{slide.width} x {slide.height}",
        f"{slide.mpp:g}" if slide.mpp else "unknown",
        slide.mpp_source or "",
        slide.sha256[:12] if slide.sha256 else "in place",
        slide.name,
    )
