"""Batches of one service: many slides with the same options, one state."""

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import quote

from .answers import Batch, BatchPage
from .connection import Connection

PATH = "/v1/batches"

PAUSE_S = 2.0
"""Seconds between two looks at a batch that is waited for."""


class Batches:
    """What a client may do with batches; every method raises what `Client` raises."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def create(
        self,
        slides: Sequence[str | Mapping[str, Any]] | None = None,
        *,
        folder: str | None = None,
        recursive: bool = False,
        csv: str | None = None,
        name: str = "",
        **options: Any,
    ) -> Batch:
        """Send many slides to run with the same options; they become jobs a few at a time.

        It is sent under an idempotency key: a lost answer makes no second batch.

        Args:
            slides: paths on the service's disks, URIs, ids of slides, or objects of the API.
            folder: instead, a folder on the service's disks.
            recursive: whether folders in that folder are meant, too.
            csv: instead, the text of a table with a column `slide` and perhaps `mpp`.
            name: what people call the batch.
            options: those of jobs (`JobOptions`), without polygons.
        """
        sources = {"slides": slides and list(slides), "folder": folder, "csv": csv}
        body = {"name": name, "recursive": recursive, **options}
        body |= {key: value for key, value in sources.items() if value is not None}
        headers = {"Idempotency-Key": uuid.uuid4().hex}
        return self._connection.patiently(
            lambda: self._connection.ask(Batch, "POST", PATH, json=body, headers=headers)
        )

    def get(self, batch_id: str) -> Batch:
        """Return one batch."""
        return self._connection.ask(Batch, "GET", _path(batch_id))

    def list(self) -> Iterator[Batch]:
        """Yield all batches, newest first."""
        wanted = {"limit": "200"}
        while True:
            page = self._connection.ask(BatchPage, "GET", PATH, params=wanted)
            yield from page.batches
            if page.next_cursor is None:
                return
            wanted["cursor"] = page.next_cursor

    def pause(self, batch_id: str) -> Batch:
        """Begin no further slide of a batch; the few that wait in the queue or run go on."""
        return self._connection.ask(Batch, "POST", _path(batch_id, "/pause"))

    def resume(self, batch_id: str) -> Batch:
        """Go on with a batch that was paused."""
        return self._connection.ask(Batch, "POST", _path(batch_id, "/resume"))

    def cancel(self, batch_id: str) -> Batch:
        """Begin no further slide of a batch, and cancel its jobs; results stay."""
        return self._connection.ask(Batch, "POST", _path(batch_id, "/cancel"))

    def delete(self, batch_id: str) -> None:
        """Forget a batch; its jobs and their results stay."""
        self._connection.request("DELETE", _path(batch_id))

    def table(self, batch_id: str) -> str:
        """Return what became of each slide as CSV: state, areas, warnings, errors."""
        return self._connection.request("GET", _path(batch_id, "/slides.csv")).text

    def wait(self, batch_id: str, *, progress: Callable[[Batch], object] = lambda _: None) -> Batch:
        """Return a batch once it is finished or cancelled; `progress` is told each look on the way."""
        while True:
            batch = self._connection.patiently(lambda: self.get(batch_id))
            progress(batch)
            if batch.state.is_final and not batch.slides.queued + batch.slides.running:
                return batch
            self._connection.sleep(PAUSE_S)


def _path(batch_id: str, rest: str = "") -> str:
    return f"{PATH}/{quote(batch_id, safe='')}{rest}"
