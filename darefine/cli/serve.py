"""Command `darefine serve`: API, worker and embedded queue under one supervisor."""

import ipaddress
import socket
import sys
from pathlib import Path

import click

from model.card import ModelCard
from workers.errors import WorkersError
from workers.settings import WorkerSettings
from workers.supervisor.supervisor import Supervisor


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option(
    "--weights",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Model card to serve by default (its folder's other cards too).",
)
def serve(host: str, port: int, weights: Path | None) -> None:
    """Run API, worker and embedded queue until stopped (Ctrl-C).

    State lies under DAREFINE_DATA_DIR. There is no authentication: listen on loopback, or behind a proxy that
    has it.
    """
    if not is_loopback(host):
        click.echo(
            f"Warning: {host} is reachable from other machines and this service has no authentication.",
            err=True,
        )
    settings = WorkerSettings()
    if weights is not None:
        name = ModelCard.load(weights).name
        settings = settings.model_copy(
            update={"weights_dir": weights.resolve().parent, "default_model": name}
        )
    require_free(host, port)
    click.echo(f"http://{host}:{port}  (API documentation at /docs, data in {settings.data_dir})")
    try:
        sys.exit(Supervisor(settings, api_command=api_command(host, port)).run())
    except WorkersError as error:
        raise click.ClickException(str(error)) from error


def api_command(host: str, port: int) -> list[str]:
    """Return the API's program and arguments.

    A graceful shutdown ends open streams after 5 s instead of never.
    """
    uvicorn = [sys.executable, "-m", "uvicorn", "service.app:create_app", "--factory", "--no-access-log"]
    return [*uvicorn, "--host", host, "--port", str(port), "--timeout-graceful-shutdown", "5"]


def require_free(host: str, port: int) -> None:
    """Check that the address is free, so that it is not told in an endless log of restarts.

    Raises:
        ClickException: when it cannot be listened on.
    """
    try:
        with socket.create_server((host, port)):
            pass
    except OSError as error:
        raise click.ClickException(
            f"Cannot listen on {host}:{port} ({error.strerror}). Choose another --port."
        ) from error


def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
