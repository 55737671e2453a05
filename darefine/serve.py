"""`darefine serve`: API, worker and embedded queue under one supervisor."""

import ipaddress
import sys
from pathlib import Path

import click

from workers.settings import WorkerSettings
from workers.supervisor import Supervisor


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

    State lies under DAREFINE_DATA_DIR. There is no authentication: listen on loopback, or behind a proxy that has it.
    """
    if not is_loopback(host):
        click.echo(
            f"Warning: {host} is reachable from other machines and this service has no authentication.",
            err=True,
        )
    settings = WorkerSettings()
    if weights is not None:
        settings = settings.model_copy(
            update={"weights_dir": weights.resolve().parent, "default_model": weights.stem}
        )
    api = [
        sys.executable,
        "-m",
        "uvicorn",
        "service.app:create_app",
        "--factory",
        "--host",
        host,
        "--port",
        str(port),
    ]
    api += ["--timeout-graceful-shutdown", "5", "--no-access-log"]
    click.echo(f"http://{host}:{port}  (API documentation at /docs, data in {settings.data_dir})")
    sys.exit(Supervisor(settings, api_command=api).run())


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach `host`."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
