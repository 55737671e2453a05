"""Command `darefine recover`: list jobs again from the data folder, after the queue has lost them."""

import shutil

import click
from redis.exceptions import RedisError

from workers.queue.connection import connect, socket_path, unix_url, without_password
from workers.queue.recovery import recover_jobs
from workers.settings import WorkerSettings


@click.command()
@click.option(
    "--remove-orphans",
    is_flag=True,
    help="Then delete the folders that belong to no job: it failed, was cancelled or deleted.",
)
def recover(remove_orphans: bool) -> None:
    """List jobs again whose records the queue has lost, from their folders in DAREFINE_DATA_DIR.

    Finished jobs are there again with their results; those that waited or ran are queued again and go on from
    the patches they have stored. Jobs that the queue knows are left alone. Needs the queue: run it beside
    `darefine serve`, or with REDIS_URL.
    """
    settings = WorkerSettings()
    url = settings.redis_url or unix_url(socket_path(settings.queue_dir))
    try:
        with connect(url) as redis:
            redis.ping()
            found = recover_jobs(redis, settings.jobs_dir)
    except RedisError as error:
        raise click.ClickException(
            f"The queue at {without_password(url)} does not answer ({error}). Start `darefine serve`, or set "
            "REDIS_URL."
        ) from error
    click.echo(
        f"{len(found.finished)} finished jobs listed again, {len(found.queued)} queued again, "
        f"{found.known} were known"
    )
    if remove_orphans:
        for folder in found.orphans:
            shutil.rmtree(folder)
        click.echo(f"{len(found.orphans)} folders removed that belong to no job")
    elif found.orphans:
        click.echo(f"{len(found.orphans)} folders belong to no job; --remove-orphans deletes them")
