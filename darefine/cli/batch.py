"""Commands `darefine batch ...`: many slides of a service at once."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import click

from darefine.client import Batch, Client

from .connect import connected, url_option
from .listing import print_rows
from .progress_bar import progress_bar

id_argument = click.argument("batch_id", metavar="BATCH")


@click.group()
def batch() -> None:
    """Have a service label many slides at once; watch, pause, resume or cancel that."""


@batch.command()
@click.argument("slides", nargs=-1, metavar="[SLIDE]...")
@url_option
@click.option("--folder", help="Instead: a folder of slides that the service may read.")
@click.option("--recursive", is_flag=True, help="Folders in that folder, too.")
@click.option(
    "--csv",
    "table",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Instead: a table on this machine with a column `slide`, and `mpp` if slides need it.",
)
@click.option("--name", default="", help="What to call the batch.")
@click.option("--model", help="Name of a model that the service has.")
@click.option("--mpp", type=float, help="Micrometres per pixel of level 0.")
@click.option("--priority", type=click.Choice(["normal", "high"]))
@click.option("--force", is_flag=True, help="Compute again what has been computed before.")
def start(
    slides: tuple[str, ...], url: str, folder: str | None, recursive: bool, table: Path | None, **options: Any
) -> None:
    """Send slides by their paths on the service's disks, or by their ids there; print the batch's id."""
    if [bool(slides), folder is not None, table is not None].count(True) != 1:
        raise click.UsageError("Name slides, or a --folder, or a --csv: one of the three.")
    chosen = {name: value for name, value in options.items() if value}
    csv = table.read_text(encoding="utf-8-sig") if table else None
    with connected(url) as client:
        made = client.batches.create(slides or None, folder=folder, recursive=recursive, csv=csv, **chosen)
    click.echo(made.id)


@batch.command("list")
@url_option
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
def list_batches(url: str, limit: int) -> None:
    """List batches, newest first."""
    with connected(url) as client:
        print_batches(list(islice(client.batches.list(), limit)))


@batch.command()
@id_argument
@url_option
def show(batch_id: str, url: str) -> None:
    """Show one batch."""
    with connected(url) as client:
        print_batches([client.batches.get(batch_id)])


@batch.command()
@id_argument
@url_option
def wait(batch_id: str, url: str) -> None:
    """Wait until a batch is over; exit code 1 if a slide has no result."""
    with connected(url) as client:
        over = watch(client, batch_id)
    print_batches([over])
    if over.slides.succeeded < over.slides.total:
        raise SystemExit(1)


@batch.command()
@id_argument
@url_option
def table(batch_id: str, url: str) -> None:
    """Print what became of each slide as CSV: state, areas, warnings, errors."""
    with connected(url) as client:
        click.echo(client.batches.table(batch_id), nl=False)


@batch.command()
@id_argument
@url_option
def pause(batch_id: str, url: str) -> None:
    """Begin no further slide; those in the queue go on."""
    with connected(url) as client:
        print_batches([client.batches.pause(batch_id)])


@batch.command()
@id_argument
@url_option
def resume(batch_id: str, url: str) -> None:
    """Go on with a batch that was paused."""
    with connected(url) as client:
        print_batches([client.batches.resume(batch_id)])


@batch.command()
@id_argument
@url_option
def cancel(batch_id: str, url: str) -> None:
    """Begin no further slide, and cancel the jobs that wait or run."""
    with connected(url) as client:
        print_batches([client.batches.cancel(batch_id)])


def watch(client: Client, batch_id: str) -> Batch:
    """Wait for a batch with a progress bar and return it."""
    with progress_bar(estimate=False, transient=True) as bar:
        return client.batches.wait(
            batch_id, progress=lambda now: bar(now.id, now.slides.over / now.slides.total, label=now.state)
        )


def print_batches(found: Sequence[Batch]) -> None:
    """Print a line for each batch."""
    print_rows(
        ("batch", "state", "slides", "succeeded", "failed", "cancelled", "created (UTC)", "model", "name"),
        (
            (
                one.id,
                str(one.state),
                str(one.slides.total),
                str(one.slides.succeeded),
                str(one.slides.failed),
                str(one.slides.cancelled),
                f"{one.created_at:%Y-%m-%d %H:%M}",
                one.model,
                one.name,
            )
            for one in found
        ),
    )
