"""Reach the service that a command talks to, and tell its refusals without a traceback."""

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence

import click

from darefine.client import Client, ClientError

DEFAULT_URL = "http://127.0.0.1:8000"

url_option = click.option(
    "--url", default=DEFAULT_URL, show_default=True, envvar="DAREFINE_URL", help="The service."
)
"""Option that names the service."""

KEY_VARIABLE = "DAREFINE_KEY"
"""Environment variable of the API key; no option, because others can read a process's arguments."""


@contextlib.contextmanager
def connected(url: str, *, sleep: Callable[[float], object] = time.sleep) -> Iterator[Client]:
    """Yield a client of the service at `url`; what it refuses ends the command with one line.

    The key of KEY_VARIABLE goes with every call, if there is one.

    Raises:
        ClickException: for every error of the client.
    """
    key = os.environ.get(KEY_VARIABLE)
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    with Client(url, headers=headers, sleep=sleep) as client:
        try:
            yield client
        except ClientError as error:
            raise click.ClickException(str(error)) from error


def act_on_each(ids: Sequence[str], act: Callable[[str], str]) -> None:
    """Do something for each id and print how it went; one refusal does not keep the others from their turn.

    Raises:
        Exit: with code 1 when one was refused.
    """
    refused = False
    for one in ids:
        try:
            click.echo(f"{one}  {act(one)}")
        except (ClientError, OSError) as error:
            click.echo(f"{one}  {error}", err=True)
            refused = True
    if refused:
        click.get_current_context().exit(1)
