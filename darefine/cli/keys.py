"""Commands `darefine keys add|list|revoke`: the keys that open a service to other machines."""

from datetime import UTC, datetime

import click
from rich.console import Console
from rich.table import Table

from service.access.keys import ApiKey, KeyStore, Scope
from service.errors import KeyNameError, KeyUnknownError
from workers.settings import WorkerSettings

GIGABYTE = 10**9


@click.group()
def keys() -> None:
    """Make, list and revoke API keys. They lie, hashed, under DAREFINE_DATA_DIR and act at once."""


@keys.command()
@click.argument("name")
@click.option(
    "--scope",
    type=click.Choice([scope.value for scope in Scope]),
    default=Scope.SUBMIT.value,
    show_default=True,
    help="read: look and download; submit: send slides and jobs, cancel them too; admin: delete them too.",
)
@click.option(
    "--days", type=click.FloatRange(min=0, min_open=True), help="Days it is good for [default: any]."
)
@click.option(
    "--max-gb",
    type=click.FloatRange(min=0, min_open=True),
    help="Largest slide it may send, in gigabytes [default: the service's limit].",
)
@click.option("--per-minute", type=click.IntRange(min=1), help="Calls a minute [default: any number].")
def add(name: str, scope: str, days: float | None, max_gb: float | None, per_minute: int | None) -> None:
    """Make a key called NAME and print it. It cannot be shown again."""
    try:
        key, text = store().add(
            name,
            Scope(scope),
            days=days,
            max_slide_bytes=None if max_gb is None else int(max_gb * GIGABYTE),
            calls_per_minute=per_minute,
        )
    except KeyNameError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Key {key.id} ({key.name}, {key.scope}). It is shown this once:", err=True)
    click.echo(text)
    click.echo("Send it as `Authorization: Bearer ...`, or set DAREFINE_KEY for `darefine submit`.", err=True)


@keys.command("list")
def list_keys() -> None:
    """List the keys, oldest first."""
    table = Table("id", "name", "scope", "made", "ends", "largest slide", "calls a minute")
    for key in store().list():
        table.add_row(
            key.id,
            key.name,
            key.scope,
            day(key.created_at),
            ends(key),
            "" if key.max_slide_bytes is None else f"{key.max_slide_bytes / GIGABYTE:g} GB",
            "" if key.calls_per_minute is None else str(key.calls_per_minute),
        )
    Console().print(table)


@keys.command()
@click.argument("id_or_name")
def revoke(id_or_name: str) -> None:
    """Revoke a key by its id or name; logins with it end, too."""
    try:
        key = store().revoke(id_or_name)
    except KeyUnknownError as error:
        raise click.ClickException(str(error)) from error
    click.echo(f"Key {key.id} ({key.name}) is revoked.")


def store() -> KeyStore:
    """Return the keys of the data folder that the environment names."""
    return KeyStore(WorkerSettings().data_dir)


def ends(key: ApiKey) -> str:
    """Return the day a key ends, as text."""
    if key.expires_at is None:
        return "never"
    return day(key.expires_at) if key.is_valid else f"{day(key.expires_at)}, over"


def day(seconds: float) -> str:
    """Return the UTC date of a Unix time."""
    return datetime.fromtimestamp(seconds, UTC).date().isoformat()
