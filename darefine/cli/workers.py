"""Command `darefine workers`: list the workers on a queue, and what is wrong with their hosts."""

import click
from redis.exceptions import RedisError

from workers.queue.connection import connect, socket_path, unix_url, without_password
from workers.queue.registry import WorkerInfo, WorkerRegistry
from workers.settings import WorkerSettings

from .listing import print_rows


@click.command()
def workers() -> None:
    """List the workers that gave a sign of life lately: host, state, device, model cards, what is wrong.

    Asks the queue itself: run it beside `darefine serve`, or with REDIS_URL. A worker is `quarantined` when
    its host could not run three jobs in a row, or has another data folder than the API; it comes back by
    itself.
    """
    settings = WorkerSettings()
    url = settings.redis_url or unix_url(socket_path(settings.queue_dir))
    try:
        with connect(url) as redis:
            registry = WorkerRegistry(redis)
            found, cards = registry.workers(), registry.cards_of_workers()
    except RedisError as error:
        raise click.ClickException(
            f"The queue at {without_password(url)} does not answer ({error}). Start `darefine serve`, or set "
            "REDIS_URL."
        ) from error
    if not found:
        click.echo("No worker gave a sign of life lately. Start one with `darefine worker`.")
        return
    headings = ("worker", "host", "state", "device", "model cards", "reason")
    print_rows(headings, (_row(worker, cards.get(worker.name, ())) for worker in found))


def _row(worker: WorkerInfo, cards: tuple[tuple[str, str], ...]) -> tuple[str, ...]:
    named = ", ".join(f"{name} {sha256[:12]}".strip() for name, sha256 in cards)
    device = f"{worker.device} ({worker.dtype})" if worker.device else "-"
    reason = worker.problem.detail if worker.problem else ""
    return (worker.name, worker.host or "-", worker.state, device, named or "-", reason)
