"""Command `darefine probe`: whether the API or this host's workers are well, for health checks."""

import click
import httpx
from redis.exceptions import RedisError

from workers.queue.connection import connect, socket_path, unix_url, without_password
from workers.queue.registry import WorkerInfo, WorkerRegistry, WorkerState
from workers.settings import WorkerSettings

from .connect import url_option

ANSWER_S = 5.0
"""Seconds that the API has to answer."""

ready_option = click.option("--ready", is_flag=True, help="Ask whether jobs would run, not only for life.")


@click.group()
def probe() -> None:
    """Say whether a part is well: exit code 0, or 1 and why not."""


@probe.command()
@url_option
@ready_option
def api(url: str, ready: bool) -> None:
    """Ask the API for a sign of life; with --ready also queue, storage and workers."""
    address = f"{url.rstrip('/')}/{'readyz' if ready else 'healthz'}"
    try:
        answer = httpx.get(address, timeout=ANSWER_S, trust_env=False)
    except httpx.HTTPError as error:
        raise click.ClickException(f"{address} does not answer: {error}") from error
    if answer.is_success:
        click.echo("ok")
        return
    told = answer.json().get("checks") if "json" in answer.headers.get("content-type", "") else None
    reasons = [f"{part}: {words}" for part, words in (told or {}).items() if words != "ok"]
    raise click.ClickException("; ".join(reasons) or f"{address} answers {answer.status_code}")


@probe.command("worker")
@ready_option
def workers(ready: bool) -> None:
    """Look for this host's workers: each announces itself every few seconds, with the state of its model.

    A queue that does not answer is no fault of theirs: they compute on while it is away.
    """
    settings = WorkerSettings()
    url = settings.redis_url or unix_url(socket_path(settings.queue_dir))
    try:
        with connect(url) as redis:
            found = WorkerRegistry(redis).of_this_host()
    except RedisError as error:
        told = f"{without_password(url)} does not answer: {error}"
        if ready:
            raise click.ClickException(told) from error
        click.echo(told)
        return
    click.echo(judge(found, ready=ready))


def judge(found: tuple[WorkerInfo, ...], *, ready: bool) -> str:
    """Return the states of a host's workers if one is well; `ready` asks for a loaded model.

    Raises:
        ClickException: none is.
    """
    states = ", ".join(f"{worker.name} {worker.state}" for worker in found)
    well = [
        worker for worker in found if worker.is_ready or (not ready and worker.state is WorkerState.STARTING)
    ]
    if well:
        return states
    problems = {worker.problem.detail for worker in found if worker.problem}
    raise click.ClickException(" ".join(sorted(problems)) or states or "no worker of this host is announced")
