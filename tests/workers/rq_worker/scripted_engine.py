"""An engine process that says what it is told to, once its worker looks away."""

import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from workers.protocol import FromEngine, Ready
from workers.settings import WorkerSettings


def main(
    directory: Path, messages: Sequence[FromEngine], pipe: Connection, _: int, settings: WorkerSettings
) -> None:
    """Be ready, take a job (makes `got`), wait for the file `go`, say `messages` (makes `said`), and hang."""
    pipe.send(Ready("cpu", "float32", "stand-in", ()))
    pipe.recv()
    (directory / "got").touch()
    while not (directory / "go").exists():
        time.sleep(0.01)
    for message in messages:
        pipe.send(message)
    (directory / "said").touch()
    pipe.recv()
