"""Pydantic models of the requests and answers about webhooks."""

from datetime import datetime
from typing import Annotated

from pydantic import AfterValidator, BaseModel, Field, HttpUrl

from workers.webhooks import EventType, LastDelivery, Webhook

from .schemas import PREFIX, example, moment

WEBHOOK_ID = "6f1d2c3b4a596877"


def _without_user(url: HttpUrl) -> HttpUrl:
    """Refuse a name and password in an address: nothing would be sent of them.

    Raises:
        ValueError: when there are some.
    """
    if url.username or url.password:
        raise ValueError("leave name and password out; messages are signed")
    return url


class WebhookCreate(BaseModel):
    """An address to tell of events."""

    model_config = example({"url": "https://lab.example.org/darefine", "events": ["job.failed"]})
    model_config["extra"] = "forbid"
    url: Annotated[HttpUrl, AfterValidator(_without_user)] = Field(
        description="Of a receiver of POST requests."
    )
    events: list[EventType] = Field([], description="Only these types; all if empty.")


class LastDeliveryOut(BaseModel):
    """How the last attempt went."""

    at: datetime
    status: int | None = Field(description="HTTP status; null if there was no answer.")
    error: str | None = Field(description="Null if the receiver took the message.")


class WebhookOut(BaseModel):
    """A webhook."""

    model_config = example(
        {
            "id": WEBHOOK_ID,
            "url": "https://lab.example.org/darefine",
            "events": ["job.failed", "batch.finished"],
            "created_at": "2026-03-02T09:14:05.100000Z",
            "last_delivery": {"at": "2026-03-02T10:00:00Z", "status": 204, "error": None},
            "links": {
                "self": f"{PREFIX}/webhooks/{WEBHOOK_ID}",
                "ping": f"{PREFIX}/webhooks/{WEBHOOK_ID}/ping",
            },
        }
    )
    id: str
    url: str
    events: list[str]
    created_at: datetime
    last_delivery: LastDeliveryOut | None
    links: dict[str, str]

    @classmethod
    def of(cls, webhook: Webhook, last: LastDelivery | None) -> "WebhookOut":
        """Return the JSON form of a webhook, without its secret."""
        self = f"{PREFIX}/webhooks/{webhook.id}"
        return cls(
            id=webhook.id,
            url=webhook.url,
            events=list(webhook.events),
            created_at=moment(webhook.created_at),
            last_delivery=LastDeliveryOut(at=moment(last.at), status=last.status, error=last.error)
            if last
            else None,
            links={"self": self, "ping": f"{self}/ping"},
        )


class NewWebhookOut(WebhookOut):
    """A webhook that was just made, with its secret."""

    model_config = example({**WebhookOut.model_json_schema()["example"], "secret": "whsec_MfKQ9r8GKYqrTwjU"})
    secret: str = Field(description="What messages are signed with. It is shown this once.")


class WebhookList(BaseModel):
    """All webhooks, oldest first."""

    webhooks: list[WebhookOut]
