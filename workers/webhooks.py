"""Define webhooks as values: who is told of what, and what is to be sent.

Knows no Redis, so that every process may import it.
"""

from dataclasses import dataclass
from typing import Literal

from pydantic import with_config

from .jobs import STRICT, Moment

EventType = Literal[
    "job.succeeded", "job.failed", "job.cancelled", "batch.finished", "batch.cancelled", "ping"
]


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Webhook:
    """An address that is told of events. Times are Unix seconds."""

    id: str
    url: str
    events: tuple[str, ...]
    """Types of the events it is told of; none for all."""
    secret: str
    """What messages are signed with, as Standard Webhooks writes it."""
    created_at: Moment

    def wants(self, event: str) -> bool:
        """Tell whether it is told of an event of this type."""
        return not self.events or event in self.events or event == "ping"


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened to a job or a batch."""

    number: int
    """Counted from 1, no two have the same."""
    kind: Literal["job", "batch", "ping"]
    id: str
    """Of the job or batch; of the webhook that is to be tried."""
    state: str
    at: float
    """Unix seconds."""

    @property
    def type(self) -> str:
        """The type that is told, such as `job.succeeded`."""
        return "ping" if self.kind == "ping" else f"{self.kind}.{self.state}"


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that is to be sent to a webhook."""

    id: str
    webhook_id: str
    body: str
    attempts: int
    """How often it was tried."""


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class LastDelivery:
    """How the last attempt to reach a webhook went."""

    at: Moment
    status: int | None
    """HTTP status, None if there was no answer."""
    error: str | None
