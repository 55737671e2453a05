"""Keep batches: what is to be run, how far it is, what became of each slide.

Every method raises `redis.exceptions.RedisError` when the queue server does not answer.
"""

import secrets
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from redis import Redis

from ..batches import Batch, BatchEntry, BatchSlide, BatchState
from ..errors import BatchFinalError, BatchNotFoundError
from ..jobs import JobState, is_job_id, new_job_id
from . import batch_lua
from .codec import JsonCodec
from .connection import text
from .records import PREFIX, count_of, moment_of

BATCHES = f"{PREFIX}batches"
ACTIVE = f"{PREFIX}batches:active"

CHUNK = 1000
"""Entries written or read at once."""

DRAFT_S = 3600
"""For how long entries are kept whose batch was never made because the process died."""

ENDS = tuple(state for state in JobState if state.is_final)

_ENTRY = JsonCodec(BatchEntry)


class BatchStore:
    """Batches in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._create = redis.register_script(batch_lua.CREATE)
        self._begin = redis.register_script(batch_lua.BEGIN)
        self._settle = redis.register_script(batch_lua.SETTLE)
        self._move = redis.register_script(batch_lua.MOVE)

    def create(
        self,
        entries: Sequence[BatchEntry],
        *,
        name: str,
        owner: str,
        model: str,
        options: str,
        batch_id: str | None = None,
    ) -> Batch:
        """Keep a new batch, or return the one of this id.

        Raises:
            RecordInvalidError: an entry could not be read back, as with a path that is not Unicode.
        """
        batch_id = batch_id or new_job_id()
        draft = f"{PREFIX}batch-draft:{secrets.token_hex(8)}"
        for start in range(0, len(entries), CHUNK):
            pipeline = self._redis.pipeline(transaction=False)
            pipeline.rpush(draft, *(_encoded(entry) for entry in entries[start : start + CHUNK]))
            pipeline.expire(draft, DRAFT_S)
            pipeline.execute()
        fields = {"name": name, "owner": owner, "model": model, "options": options}
        parts = [part for item in fields.items() for part in item]
        if int(self._create(args=[batch_id, draft, *parts])) == 0:
            self._redis.delete(draft)
        return self.get(batch_id)

    def get(self, batch_id: str) -> Batch:
        """Return a batch.

        Raises:
            BatchNotFoundError: there is none that can be read.
        """
        if is_job_id(batch_id):
            pipeline = self._redis.pipeline()
            pipeline.hgetall(_key(batch_id))
            pipeline.smembers(f"{_key(batch_id)}:live")
            fields, live = pipeline.execute()
            try:
                found = {text(name): text(value) for name, value in fields.items()}
                return _decoded(batch_id, found, tuple(sorted(count_of(text(index)) for index in live)))
            except (KeyError, ValueError) as error:  # no fields, or nonsense in them
                raise BatchNotFoundError(batch_id) from error
        raise BatchNotFoundError(batch_id)

    def list(self, cursor: str | None = None, limit: int = 50) -> tuple[tuple[Batch, ...], str | None]:
        """Return a page of batches, newest first, and the cursor of the next page, None on the last.

        What cannot be read is left out.
        A cursor is the id of the last one of the page before; one that is gone ends the listing.
        """
        start = 0
        if cursor is not None:
            rank: Any = self._redis.zrevrank(BATCHES, cursor)
            if rank is None:
                return (), None
            start = int(rank) + 1
        ids = [text(key) for key in self._redis.zrevrange(BATCHES, start, start + limit)]
        found = []
        for one in ids[:limit]:
            with suppress(BatchNotFoundError):
                found.append(self.get(one))
        return tuple(found), ids[limit - 1] if len(ids) > limit else None

    def pause(self, batch_id: str) -> Batch:
        """Begin no further slide of a batch; those that have begun go on.

        Raises:
            BatchNotFoundError: there is none.
            BatchFinalError: it is over.
        """
        return self._moved(batch_id, BatchState.RUNNING, BatchState.PAUSED)

    def resume(self, batch_id: str) -> Batch:
        """Go on with a batch that was paused; raises what `pause` raises."""
        return self._moved(batch_id, BatchState.PAUSED, BatchState.RUNNING)

    def cancel(self, batch_id: str) -> Batch:
        """Begin no further slide of a batch, ever; its jobs are the caller's to cancel.

        Raises what `pause` raises.
        """
        return self._moved(batch_id, BatchState.RUNNING, BatchState.CANCELLED)

    def delete(self, batch_id: str) -> None:
        """Forget a batch; its jobs and their results stay.

        Raises:
            BatchNotFoundError: there is none.
        """
        self.get(batch_id)
        key = _key(batch_id)
        pipeline = self._redis.pipeline()
        pipeline.zrem(BATCHES, batch_id)
        pipeline.srem(ACTIVE, batch_id)
        pipeline.delete(key, *(f"{key}:{part}" for part in ("entries", "live", "jobs", "refused")))
        pipeline.execute()

    def active(self) -> tuple[str, ...]:
        """Return the ids of the batches that have slides to begin or jobs that are not over, oldest first."""
        return tuple(sorted(text(key) for key in self._redis.smembers(ACTIVE)))

    def begin(self, batch_id: str) -> int | None:
        """Begin the next slide of a batch that runs; return its index, None if there is none."""
        index = int(self._begin(args=[batch_id]))
        return None if index < 0 else index

    def note_job(self, batch_id: str, index: int, job_id: str) -> None:
        """Note which job a slide has become."""
        self._redis.hset(f"{_key(batch_id)}:jobs", str(index), job_id)

    def settle(self, batch_id: str, index: int, state: JobState, why: str = "") -> None:
        """Note how a slide ended; `why` it could not become a job. The last one ends the batch."""
        self._settle(args=[batch_id, index, state, why])

    def slide(self, batch_id: str, index: int) -> BatchSlide | None:
        """Return one slide of a batch, None if the batch is gone."""
        return next(iter(self._slides(batch_id, index, index + 1)), None)

    def slides(self, batch_id: str) -> Iterator[BatchSlide]:
        """Yield all slides of a batch, in their order."""
        for start in range(0, int(self._redis.llen(f"{_key(batch_id)}:entries")), CHUNK):
            yield from self._slides(batch_id, start, start + CHUNK)

    def _slides(self, batch_id: str, start: int, end: int) -> tuple[BatchSlide, ...]:
        key, indices = _key(batch_id), [str(index) for index in range(start, end)]
        pipeline = self._redis.pipeline(transaction=False)
        pipeline.lrange(f"{key}:entries", start, end - 1)
        pipeline.hmget(f"{key}:jobs", indices)
        pipeline.hmget(f"{key}:refused", indices)
        entries, jobs, refused = pipeline.execute()
        return tuple(
            _slide(start + number, entry, _text(job), _text(why))
            for number, (entry, job, why) in enumerate(zip(entries, jobs, refused, strict=False))
        )

    def _moved(self, batch_id: str, before: BatchState, after: BatchState) -> Batch:
        self.get(batch_id)
        state = text(self._move(args=[batch_id, before, after]))
        if state != after:
            raise BatchFinalError(batch_id, state)
        return self.get(batch_id)


def _key(batch_id: str) -> str:
    return f"{PREFIX}batch:{batch_id}"


def _text(value: bytes | None) -> str | None:
    return None if value is None else text(value)


def _slide(index: int, encoded: bytes, job_id: str | None, refused: str | None) -> BatchSlide:
    """Return a slide of a batch; one whose entry cannot be read is named by nothing, and no job."""
    entry = _ENTRY.from_json_or_none(encoded)
    if entry is None:
        return BatchSlide(index, BatchEntry(), None, refused)
    return BatchSlide(index, entry, job_id, refused)


def _encoded(entry: BatchEntry) -> str:
    encoded = _ENTRY.to_json(entry)
    _ENTRY.from_json(encoded)
    return encoded


def _decoded(batch_id: str, fields: dict[str, str], live: tuple[int, ...]) -> Batch:
    finished = fields.get("finished_at")
    return Batch(
        id=batch_id,
        name=fields["name"],
        owner=fields["owner"],
        model=fields["model"],
        options=fields["options"],
        state=BatchState(fields["state"]),
        total=count_of(fields["total"]),
        begun=count_of(fields["begun"]),
        created_at=moment_of(fields["created_at"]),
        finished_at=moment_of(finished) if finished else None,
        ended={state: count_of(fields.get(state, "0")) for state in ENDS},
        live=live,
    )
