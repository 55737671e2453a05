"""Command `darefine worker`: workers alone, for a queue and a data folder that other machines share."""

import sys

import click

from workers.settings import WorkerSettings

from .serve import require_unix


@click.command()
@click.option(
    "--count",
    type=click.IntRange(1, 64),
    default=None,
    help="Worker processes, one a GPU [default: DAREFINE_WORKERS].",
)
def worker(count: int | None) -> None:
    """Run workers against REDIS_URL until stopped; DAREFINE_DATA_DIR must be the folder the API uses."""
    require_unix()
    settings = WorkerSettings()
    if count is not None:
        settings = settings.model_copy(update={"workers": count})
    from workers.supervisor.supervisor import Supervisor  # noqa: PLC0415  (it cannot be imported on Windows)

    sys.exit(Supervisor(settings, api_command=None).run())
