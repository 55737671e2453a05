"""Commands `darefine jobs ...`: the jobs of a service."""

import json
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import click
from rich.console import Console

from darefine.client import Client, Job, JobState

from .cohort import facts
from .connect import act_on_each, connected, url_option
from .listing import print_rows
from .outcome_lines import class_table, require_writable
from .progress_bar import progress_bar

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, nothing else.")
ids_argument = click.argument("job_ids", nargs=-1, required=True, metavar="JOB...")


@click.group()
def jobs() -> None:
    """List, show, wait for, cancel, download or remove jobs of a service."""


@jobs.command("list")
@url_option
@click.option("--state", type=click.Choice([str(state) for state in JobState]), help="Only those.")
@click.option("--limit", type=click.IntRange(1), default=50, show_default=True, help="At most so many.")
@json_option
def list_jobs(url: str, state: str | None, limit: int, as_json: bool) -> None:
    """List jobs, newest first."""
    with connected(url) as client:
        found = list(islice(client.jobs(state), limit))
    if as_json:
        click.echo(json.dumps([job.document() for job in found], indent=1))
    else:
        print_jobs(found)


@jobs.command()
@click.argument("job_id", metavar="JOB")
@url_option
@json_option
def show(job_id: str, url: str, as_json: bool) -> None:
    """Show one job, and the areas of its classes once it has succeeded."""
    with connected(url) as client:
        job = client.job(job_id)
        result = client.result(job_id) if job.state is JobState.SUCCEEDED else None
    if as_json:
        click.echo(json.dumps({"job": job.document(), "result": result.document() if result else None}))
        return
    print_jobs([job])
    if job.error:
        click.echo(job.error.detail)
    if result:
        Console().print(class_table(result))


@jobs.command()
@ids_argument
@url_option
@click.option("--timeout", "timeout_s", type=click.FloatRange(0), help="Seconds to wait for each at most.")
def wait(job_ids: tuple[str, ...], url: str, timeout_s: float | None) -> None:
    """Wait until jobs are over; exit code 1 if one has no result."""
    with connected(url) as client:
        act_on_each(job_ids, lambda job_id: wait_for(client, job_id, timeout_s))


@jobs.command()
@ids_argument
@url_option
def cancel(job_ids: tuple[str, ...], url: str) -> None:
    """Cancel jobs: at once if they wait, within about a second if they run."""
    with connected(url) as client:
        act_on_each(job_ids, lambda job_id: str(client.cancel(job_id).state))


@jobs.command()
@ids_argument
@url_option
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path(), help="Folder [default: this]."
)
def download(job_ids: tuple[str, ...], url: str, out: Path) -> None:
    """Download all result files of jobs as <slide>.<model>.overlay.tif and so on, checked by their sha256."""
    require_writable(out)
    with connected(url) as client:
        act_on_each(job_ids, lambda job_id: fetch(client, job_id, out))


@jobs.command()
@ids_argument
@url_option
def rm(job_ids: tuple[str, ...], url: str) -> None:
    """Remove jobs and their files from the service; one that runs is stopped first."""
    with connected(url) as client:
        act_on_each(job_ids, lambda job_id: remove(client, job_id))


def remove(client: Client, job_id: str) -> str:
    """Remove a job and say so."""
    client.delete_job(job_id)
    return "removed"


def wait_for(client: Client, job_id: str, timeout_s: float | None) -> str:
    """Wait for a job with a progress bar and return its last state."""
    with progress_bar(estimate=False, transient=True) as bar:
        job = client.wait(
            job_id,
            timeout_s=timeout_s,
            progress=lambda job: bar(
                job.id, job.progress.fraction, label=job.progress.stage, facts=facts(job)
            ),
        )
    return str(job.state)


def fetch(client: Client, job_id: str, folder: Path) -> str:
    """Download the files of a job with a progress bar and return their names."""
    with progress_bar(transient=True) as bar:
        paths = client.download_results(
            job_id, folder, told=lambda done, total: bar("download", done / total if total else 1.0)
        )
    return "  ".join(str(path) for path in paths.values())


def print_jobs(found: Sequence[Job]) -> None:
    """Print a line for each job."""
    print_rows(
        ("job", "state", "done", "created (UTC)", "model", "slide", ""),
        (
            (
                job.id,
                str(job.state),
                f"{job.progress.fraction:.0%}",
                f"{job.created_at:%Y-%m-%d %H:%M}",
                job.model,
                job.slide.name,
                facts(job) if job.state is JobState.RUNNING else (job.error.title if job.error else ""),
            )
            for job in found
        ),
    )
