"""Send signed messages of what has happened to webhooks, again and again until each has answered.

What is to be sent lies in Redis (`workers.queue.webhooks`): a process that dies is followed by another, and a
message that was sent but not struck off goes out once more, under the same id.
"""

import asyncio
import contextlib
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any

import httpcore
from fastapi.concurrency import run_in_threadpool
from redis.exceptions import RedisError
from standardwebhooks.webhooks import Webhook as Signer

from workers.errors import BatchNotFoundError, JobNotFoundError, WebhookNotFoundError, WorkersError
from workers.queue.batches import BatchStore
from workers.queue.client import JobClient
from workers.queue.webhooks import WebhookStore
from workers.webhooks import Delivery, Event, LastDelivery, Webhook

from ..batch_schemas import BatchOut
from ..errors import WebhookAddressError
from ..schemas import JobOut
from .networks import AllowedNetworks

logger = logging.getLogger(__name__)

EVERY_S = 1.0
"""Seconds between two looks at what has happened."""

IDLE_S = 3.0
"""The same while nothing is to be sent: looking costs the queue commands."""

TURN_S = 15
"""For how long one process sends before others may, in seconds; renewed at every look."""

ANSWER_S = 15.0
"""Seconds that a receiver has to answer."""

AT_ONCE = 8

SCHEDULE_S: tuple[float, ...] = (5, 300, 1800, 7200, 18_000, 36_000, 50_400, 72_000, 86_400)
"""Pauses before a message is tried again, in seconds, as Standard Webhooks recommends; then it is dropped."""

HEADERS = {"Content-Type": "application/json", "User-Agent": "darefine-webhooks"}

GONE = 410
"""Status with which a receiver ends its webhook."""


class WebhookSender:
    """Sends messages. For one event loop; of several processes one sends."""

    def __init__(
        self,
        webhooks: WebhookStore,
        queue: JobClient,
        batches: BatchStore,
        networks: AllowedNetworks,
        *,
        schedule_s: Sequence[float] = SCHEDULE_S,
    ) -> None:
        self._webhooks = webhooks
        self._queue = queue
        self._batches = batches
        self._networks = networks
        self._schedule_s = schedule_s
        self._name = secrets.token_hex(8)
        self._places = asyncio.Semaphore(AT_ONCE)
        self._is_idle = False

    @contextlib.asynccontextmanager
    async def sending(self) -> AsyncIterator[None]:
        """Send inside the context."""
        task = asyncio.create_task(self._run())
        try:
            yield
        finally:
            task.cancel()

    async def _run(self) -> None:
        while True:
            try:
                await self.look()
            except RedisError as error:
                logger.debug("webhooks wait for the queue: %s", error)
            except Exception:
                logger.exception("webhooks cannot be looked at")
            await asyncio.sleep(IDLE_S if self._is_idle else EVERY_S)

    async def look(self) -> None:
        """Send what is due."""
        due = await run_in_threadpool(self._due)
        await asyncio.gather(*(self._deliver(delivery) for delivery in due))

    def _due(self) -> tuple[Delivery, ...]:
        self._is_idle = self._webhooks.is_idle()
        if self._is_idle or not self._queue.take_turn("webhook-sender", self._name, TURN_S):
            return ()
        for event in self._webhooks.happened():
            wanting = [webhook for webhook in self._webhooks.all() if told_of(webhook, event)]
            body = json.dumps(self._message(event)) if wanting else ""
            self._webhooks.spread(event, {webhook.id: body for webhook in wanting})
        return self._webhooks.due(time.time())

    def _message(self, event: Event) -> dict[str, Any]:
        """Return what is told of an event: its type, its time, and the job or batch as it is now."""
        data: dict[str, Any] = {"id": event.id}
        with contextlib.suppress(JobNotFoundError, BatchNotFoundError):
            if event.kind == "job":
                data = JobOut.of(self._queue.get(event.id)).model_dump(mode="json")
            elif event.kind == "batch":
                data = BatchOut.of(self._batches.get(event.id), {}).model_dump(mode="json")
        return {
            "type": event.type,
            "timestamp": datetime.fromtimestamp(event.at, UTC).isoformat(),
            "data": data,
        }

    async def _deliver(self, delivery: Delivery) -> None:
        """Send one message, and strike it off or put it back."""
        try:
            webhook = await run_in_threadpool(self._webhooks.get, delivery.webhook_id)
        except WorkersError:
            await run_in_threadpool(self._webhooks.done, delivery)
            return
        async with self._places:
            try:
                last = await self._send(webhook, delivery)
            except Exception as error:  # of a record that others wrote: it must not come up for ever
                logger.exception("message %s cannot be sent", delivery.id)
                last = LastDelivery(time.time(), None, f"It cannot be sent: {type(error).__name__}.")
        await run_in_threadpool(self._note, webhook, delivery, last)

    async def _send(self, webhook: Webhook, delivery: Delivery) -> LastDelivery:
        """Send one message and return what came of it. Redirects are not followed."""
        signature = signed(webhook.secret, delivery.id, delivery.body, time.time())
        headers = [*HEADERS.items(), *signature.items()]
        try:
            async with (
                asyncio.timeout(ANSWER_S),
                httpcore.AsyncConnectionPool(network_backend=self._networks, retries=0) as pool,
                pool.stream("POST", webhook.url, headers=headers, content=delivery.body.encode()) as answer,
            ):
                status = answer.status
        except WebhookAddressError as error:
            return LastDelivery(time.time(), None, str(error))
        except TimeoutError:
            return LastDelivery(time.time(), None, f"There was no answer within {ANSWER_S:g} s.")
        except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException, OSError) as error:
            return LastDelivery(time.time(), None, f"It cannot be reached: {error}")
        good = 200 <= status < 300
        return LastDelivery(time.time(), status, None if good else f"It answered {status}.")

    def _note(self, webhook: Webhook, delivery: Delivery, last: LastDelivery) -> None:
        if last.status == GONE:
            logger.warning("webhook %s is gone (410): removed", webhook.id)
            with contextlib.suppress(WebhookNotFoundError):
                self._webhooks.remove(webhook.id)
            self._webhooks.done(delivery)
            return
        self._webhooks.note_last(webhook.id, last)
        if last.error is None:
            self._webhooks.done(delivery)
        elif delivery.attempts < len(self._schedule_s):
            # A tenth more or less, so that a receiver that comes back is not run over.
            pause_s = self._schedule_s[delivery.attempts] * (0.9 + 0.2 * secrets.randbelow(1000) / 1000)
            self._webhooks.again(delivery, time.time() + pause_s)
        else:
            logger.warning("message %s to webhook %s is dropped: %s", delivery.id, webhook.id, last.error)
            self._webhooks.done(delivery)


def told_of(webhook: Webhook, event: Event) -> bool:
    """Tell whether a webhook is told of an event: a wanted one, or one that tries this webhook."""
    return event.id == webhook.id if event.kind == "ping" else webhook.wants(event.type)


def signed(secret: str, message_id: str, body: str, now: float) -> dict[str, str]:
    """Return the headers of Standard Webhooks for a message sent at a time, Unix seconds."""
    moment = datetime.fromtimestamp(int(now), UTC)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now)),
        "webhook-signature": Signer(secret).sign(message_id, moment, body),
    }
