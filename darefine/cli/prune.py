"""Command `darefine prune`: remove old results and slides of a service."""

import click

from darefine.client import PruneReport

from .connect import connected, url_option
from .listing import print_rows

days = click.FloatRange(0, min_open=True)
size = click.FloatRange(0)


@click.command()
@url_option
@click.option("--results-days", type=days, help="Remove jobs that were over so many days ago.")
@click.option("--slides-days", type=days, help="Remove slides that no job used for so many days.")
@click.option("--max-results-gb", type=size, help="Remove the oldest results beyond so many GB.")
@click.option("--max-slides-gb", type=size, help="Remove uploaded slides beyond so many GB.")
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
def prune(url: str, dry_run: bool, **rules: float | None) -> None:
    """Remove old results and slides of a service, or say which would go.

    Jobs that are not over stay, and so do their slides; of a slide registered in place only the record goes.
    A service does the same by itself every hour where its settings DAREFINE_KEEP_RESULTS_DAYS,
    DAREFINE_KEEP_SLIDES_DAYS, DAREFINE_MAX_RESULTS_GB or DAREFINE_MAX_SLIDES_GB say so.
    """
    said = {name: value for name, value in rules.items() if value is not None}
    if not said:
        raise click.UsageError(
            "Say what goes: --results-days, --slides-days, --max-results-gb or --max-slides-gb."
        )
    with connected(url) as client:
        report = client.prune(dry_run=dry_run, **said)
    show(report)


def show(report: PruneReport) -> None:
    """Print what goes, and how much."""
    found = [("job", one) for one in report.jobs] + [("slide", one) for one in report.slides]
    if found:
        print_rows(
            ("id", "what", "MB", "slide", "why"),
            ((one.id, kind, f"{one.bytes / 1e6:.1f}", one.name, one.why) for kind, one in found),
        )
    verb = "would go" if report.dry_run else "went"
    click.echo(
        f"{report.job_count} jobs and {report.slide_count} slides {verb}, {report.bytes / 1e9:.2f} GB."
    )
