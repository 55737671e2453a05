"""Command `darefine worker`: workers alone, for a queue and a data folder that other machines share."""

import sys
import time
from datetime import datetime, timedelta

import click

from workers.settings import WorkerSettings
from workers.work_limits import WorkLimits

from .serve import require_unix

NO_QUEUE = (
    "There is no queue to join. Set DAREFINE_REDIS_URL to the server that the API uses, such as "
    "redis://:password@host:6379/0, and DAREFINE_DATA_DIR to the folder that both see. On one machine "
    "`darefine serve` runs API, queue and workers (DAREFINE_WORKERS=2 for two)."
)


class Moment(click.ParamType[float]):
    """A time of the clock here (17:30, the next one), an ISO date and time, or Unix seconds."""

    name = "time"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return Unix seconds."""
        if value.isdecimal():
            return float(value)
        try:
            return clock_time(value, datetime.now().astimezone()).timestamp()
        except ValueError:
            self.fail(f"{value!r} is no time: write 17:30, 2026-12-01T17:30 or Unix seconds.", param, ctx)


def clock_time(text: str, now: datetime) -> datetime:
    """Return the moment that `17:30` (after `now`) or an ISO date and time means, in the zone of `now`.

    Raises:
        ValueError: it means none.
    """
    if "T" in text or "-" in text:
        moment = datetime.fromisoformat(text)
        return moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)
    hour, minute = (int(part) for part in text.split(":"))
    today = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return today if today > now else today + timedelta(days=1)


@click.command()
@click.option(
    "--count",
    type=click.IntRange(1, 64),
    default=None,
    help="Worker processes, one a GPU [default: DAREFINE_WORKERS].",
)
@click.option("--burst", is_flag=True, help="End when no job waits (or after --max-idle seconds of that).")
@click.option("--max-idle", type=click.FloatRange(0), metavar="S", help="End after S seconds without a job.")
@click.option("--max-jobs", type=click.IntRange(1), metavar="N", help="End after N jobs of each process.")
@click.option(
    "--until",
    type=Moment(),
    metavar="T",
    help="Take no job from then on: 17:30, 2026-12-01T17:30, or Unix seconds such as $SLURM_JOB_END_TIME.",
)
def worker(
    count: int | None, burst: bool, max_idle: float | None, max_jobs: int | None, until: float | None
) -> None:
    """Run workers against DAREFINE_REDIS_URL until stopped; DAREFINE_DATA_DIR must be the API's folder.

    With a limit they finish the job that runs, take no other, and end with exit code 0. SIGTERM and Ctrl-C
    hand the job that runs back at once.
    """
    require_unix()
    settings = WorkerSettings()
    if settings.redis_url is None:
        raise click.ClickException(NO_QUEUE)
    if until is not None and until <= time.time():
        click.echo("The time of --until is over: no job is taken.")
        return
    if count is not None:
        settings = settings.model_copy(update={"workers": count})
    limits = WorkLimits(
        max_idle_s=0.0 if burst and max_idle is None else max_idle, max_jobs=max_jobs, until=until
    )
    from workers.supervisor.supervisor import Supervisor  # noqa: PLC0415  (it cannot be imported on Windows)

    sys.exit(Supervisor(settings, api_command=None, limits=limits).run())
