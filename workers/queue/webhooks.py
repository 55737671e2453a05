"""Keep webhooks and the messages that are to be sent to them: whoever sends may die, nothing is lost.

Keys, under `darefine:`

    webhooks           hash: id -> JSON of a Webhook
    webhooks:last      hash: id -> JSON of its LastDelivery
    happened           list of events that are no messages yet, written by scripts (`lua.note_event`)
    deliveries         sorted set of messages by the time when they are to be sent
    delivery:<id>      hash: webhook, body, attempts

Every method raises `redis.exceptions.RedisError` when the queue server does not answer.
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from redis import Redis

from ..errors import WebhookNotFoundError
from ..webhooks import Delivery, Event, LastDelivery, Webhook
from .codec import JsonCodec
from .connection import text
from .lua import PRELUDE
from .records import PREFIX, count_of, moment_of

WEBHOOKS = f"{PREFIX}webhooks"
LAST = f"{PREFIX}webhooks:last"
HAPPENED = f"{PREFIX}happened"
DELIVERIES = f"{PREFIX}deliveries"

PING = PRELUDE + "note_event('ping', ARGV[1], '-')"
"""Note that a webhook is to be tried. (id of the webhook)"""

MESSAGE_ID = re.compile(r"msg_\d+_[\w-]+", re.ASCII)

_WEBHOOK = JsonCodec(Webhook)
_LAST = JsonCodec(LastDelivery)


class WebhookStore:
    """Webhooks and their messages in Redis."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._ping = redis.register_script(PING)

    def add(self, webhook: Webhook) -> None:
        """Keep a webhook; it is told of what happens from now on."""
        self._redis.hset(WEBHOOKS, webhook.id, _WEBHOOK.to_json(webhook))

    def all(self) -> tuple[Webhook, ...]:
        """Return all webhooks, oldest first; what cannot be read is left out."""
        read = (_webhook(text(key), encoded) for key, encoded in self._redis.hgetall(WEBHOOKS).items())
        found = [webhook for webhook in read if webhook is not None]
        return tuple(sorted(found, key=lambda webhook: (webhook.created_at, webhook.id)))

    def get(self, webhook_id: str) -> Webhook:
        """Return a webhook.

        Raises:
            WebhookNotFoundError: there is none that can be read.
        """
        found = _webhook(webhook_id, self._redis.hget(WEBHOOKS, webhook_id))
        if found is None:
            raise WebhookNotFoundError(webhook_id)
        return found

    def remove(self, webhook_id: str) -> None:
        """Forget a webhook; messages to it are dropped when their time comes.

        Raises:
            WebhookNotFoundError: there is none.
        """
        if not self._redis.hdel(WEBHOOKS, webhook_id):
            raise WebhookNotFoundError(webhook_id)
        self._redis.hdel(LAST, webhook_id)

    def last(self, webhook_id: str) -> LastDelivery | None:
        """Return how the last attempt to reach a webhook went, None before the first."""
        return _LAST.from_json_or_none(self._redis.hget(LAST, webhook_id))

    def note_last(self, webhook_id: str, last: LastDelivery) -> None:
        """Note how an attempt to reach a webhook went."""
        self._redis.hset(LAST, webhook_id, _LAST.to_json(last))

    def ping(self, webhook_id: str) -> None:
        """Have a webhook be sent a message that says nothing."""
        self._ping(args=[webhook_id])

    def is_idle(self) -> bool:
        """Tell whether there is no webhook, no event and no message."""
        return not self._redis.exists(WEBHOOKS, HAPPENED, DELIVERIES)

    def happened(self, limit: int = 100) -> tuple[Event, ...]:
        """Return events that are no messages yet, oldest first; what no script wrote is dropped."""
        events = []
        for line in self._redis.lrange(HAPPENED, 0, limit - 1):
            try:
                events.append(_event(text(line)))
            except ValueError:
                self._redis.lrem(HAPPENED, 1, line)  # type: ignore[arg-type]  # bytes, as all replies
        return tuple(events)

    def spread(self, event: Event, bodies: Mapping[str, str]) -> None:
        """Turn an event into messages, all or none: the JSON to send by webhook id.

        Their ids are made of event and webhook, so that a receiver knows a message that it gets twice.
        """
        pipeline = self._redis.pipeline(transaction=True)
        for webhook_id, body in bodies.items():
            message_id = f"msg_{event.number}_{webhook_id}"
            fields: dict[Any, Any] = {"webhook": webhook_id, "body": body, "attempts": "0"}
            pipeline.hset(f"{PREFIX}delivery:{message_id}", mapping=fields)
            pipeline.zadd(DELIVERIES, {message_id: 0})
        pipeline.lrem(HAPPENED, 1, _line(event))
        pipeline.execute()

    def due(self, now: float, limit: int = 50) -> tuple[Delivery, ...]:
        """Return messages that are to be sent by now (Unix seconds), those that wait longest first.

        What cannot be the id of one is dropped.
        """
        found: list[Any] = self._redis.zrangebyscore(DELIVERIES, "-inf", now, start=0, num=limit)
        ids = [text(key) for key in found if MESSAGE_ID.fullmatch(text(key))]
        pipeline = self._redis.pipeline(transaction=False)
        for key in found:
            if not MESSAGE_ID.fullmatch(text(key)):
                self._redis.zrem(DELIVERIES, key)
                self._redis.delete(f"{PREFIX}delivery:".encode() + key)
        for message_id in ids:
            pipeline.hmget(f"{PREFIX}delivery:{message_id}", "webhook", "body", "attempts")
        return tuple(
            Delivery(message_id, text(webhook or b""), text(body or b""), _attempts(attempts))
            for message_id, (webhook, body, attempts) in zip(ids, pipeline.execute(), strict=True)
        )

    def done(self, delivery: Delivery) -> None:
        """Drop a message: it was delivered, or never will be."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.zrem(DELIVERIES, delivery.id)
        pipeline.delete(f"{PREFIX}delivery:{delivery.id}")
        pipeline.execute()

    def again(self, delivery: Delivery, at: float) -> None:
        """Have a message be tried again at a time, Unix seconds."""
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.hset(f"{PREFIX}delivery:{delivery.id}", "attempts", str(delivery.attempts + 1))
        pipeline.zadd(DELIVERIES, {delivery.id: at})
        pipeline.execute()


def _webhook(webhook_id: str, encoded: Any) -> Webhook | None:
    """Read a webhook, whatever id it states; None if there is none that can be read."""
    found = _WEBHOOK.from_json_or_none(encoded)
    return None if found is None else replace(found, id=webhook_id)


def _event(line: str) -> Event:
    """Read an event as `note_event` wrote it.

    Raises:
        ValueError: nobody wrote it so, and it could not be found again to be struck off.
    """
    number, kind, one, state, at = line.split(" ")
    if kind not in {"job", "batch", "ping"}:
        raise ValueError(line)
    event = Event(count_of(number), kind, one, state, moment_of(at))  # type: ignore[arg-type]
    if _line(event) != line:
        raise ValueError(line)
    return event


def _attempts(stored: bytes | None) -> int:
    """Read how often a message was tried; what is no number counts as never."""
    try:
        return count_of(text(stored or b""))
    except ValueError:
        return 0


def _line(event: Event) -> str:
    return f"{event.number} {event.kind} {event.id} {event.state} {event.at:.6f}"
