"""An engine process that says what it is told to, once its worker looks away."""

import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path

from workers.protocol import FromEngine, Ready, to_bytes
from workers.settings import WorkerSettings
from wsi.atomic import write_atomically


def main(
    directory: Path, messages: Sequence[FromEngine], pipe: Connection, _: int, settings: WorkerSettings
) -> None:
    """Be ready, take a job (makes `got`: the slide's name), wait for `go`, say all (makes `said`), hang."""
    pipe.send_bytes(to_bytes(Ready("cpu", "float32", "stand-in", ())))
    write_atomically(directory / "got", pipe.recv().slide_name.encode())
    while not (directory / "go").exists():
        time.sleep(0.01)
    for message in messages:
        pipe.send_bytes(to_bytes(message))
    (directory / "said").touch()
    pipe.recv()
