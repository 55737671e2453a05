"""Command `darefine serve`: API, worker and embedded queue under one supervisor."""

import os
import socket
import sys
import threading
from pathlib import Path

import click
import httpx

from model.card import ModelCard
from model.model_folder import CONFIG_FILE, locate_card
from model.onnx_graph import onnx_packages
from service.access.keys import KeyStore
from service.access.rules import is_loopback
from service.settings import ServiceSettings
from workers.errors import WorkersError
from workers.settings import WorkerSettings

SYSTEM = os.name
"""Kind of operating system: `nt` is Windows."""

LOOK_S = 0.1
"""How often a starting service is asked whether it is up."""


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(1, 65535), default=8000, show_default=True)
@click.option(
    "--weights",
    help="Model card to serve by default (its folder's other cards too), model folder, or hf-hub:OWNER/NAME.",
)
def serve(host: str, port: int, weights: str | None) -> None:
    """Run API, worker and embedded queue until stopped (Ctrl-C).

    State lies under DAREFINE_DATA_DIR. On loopback no key is needed; any other address is listened on only
    when there is one (`darefine keys add`).
    """
    require_unix()
    settings = WorkerSettings()
    ServiceSettings(data_dir=settings.data_dir)  # so that a bad value is told here, once
    require_key(host, settings.data_dir)
    if weights is not None:
        path = required_card(weights)
        card = ModelCard.load(path)
        if card.network.architecture == "onnx":
            onnx_packages()
        chosen = {"weights_dir": path.parent.resolve(), "default_model": card.name}
        settings = settings.model_copy(update=chosen)
    require_free(host, port)
    from workers.supervisor.supervisor import Supervisor  # noqa: PLC0415  (it cannot be imported on Windows)

    over = threading.Event()
    telling = threading.Thread(target=tell_address, args=(host, port, settings.data_dir, over))
    telling.start()
    try:
        sys.exit(Supervisor(settings, api_command=api_command(host, port)).run())
    except WorkersError as error:
        raise click.ClickException(str(error)) from error
    finally:
        over.set()
        telling.join()


def required_card(weights: str) -> Path:
    """Return the path of the card that `--weights` names.

    Raises:
        UsageError: it names none.
        WeightsError: the hub does not have it.
    """
    card = locate_card(weights)
    if card is None:
        raise click.UsageError(
            f"--weights {weights}: there is no such model card, nor a folder with a {CONFIG_FILE}."
        )
    return card


def api_command(host: str, port: int) -> list[str]:
    """Return the API's program and arguments.

    Connections have limits. A graceful shutdown ends open streams after 5 s instead of never.
    """
    uvicorn = [sys.executable, "-m", "uvicorn", "service.app:create_app", "--factory", "--no-access-log"]
    address = ["--host", host, "--port", str(port), "--no-server-header"]
    limits = ["--http", "service.http_limits:LimitedProtocol"]
    return [*uvicorn, *address, *limits, "--timeout-graceful-shutdown", "5"]


def tell_address(host: str, port: int, data_dir: Path, over: threading.Event) -> None:
    """Wait until the API answers, then print where; without a word if the service is `over` before."""
    shown = f"[{host}]" if ":" in host else host
    asked = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}.get(shown, shown)  # noqa: S104  (compared, not bound)
    while not is_up(f"http://{asked}:{port}"):
        if over.wait(LOOK_S):
            return
    click.echo(f"http://{shown}:{port}  (API documentation at /docs, data in {data_dir})")


def is_up(url: str) -> bool:
    """Return whether an API answers at `url` that it is well."""
    try:
        return httpx.get(f"{url}/healthz", timeout=2, trust_env=False).is_success
    except httpx.TransportError:
        return False


def require_unix() -> None:
    """Check that this system can run the service.

    Raises:
        ClickException: on Windows.
    """
    if SYSTEM == "nt":
        raise click.ClickException(
            "The service runs on Linux and macOS. On Windows use WSL, or send slides to a service elsewhere: "
            "darefine submit --url http://server:8000 slide.svs"
        )


def require_key(host: str, data_dir: Path) -> None:
    """Check that nobody on another machine gets in without a key.

    Raises:
        ClickException: when `host` can be reached from other machines and there is no key.
    """
    if is_loopback(host) or any(key.is_valid for key in KeyStore(data_dir).list()):
        return
    raise click.ClickException(
        f"{host} can be reached from other machines, and there is no key yet. Make one "
        f"first: `darefine keys add NAME --scope admin` (it goes to {data_dir}); or listen on 127.0.0.1."
    )


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
