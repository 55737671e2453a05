"""Webhook routes: add, list, try and remove addresses that are told of events."""

import base64
import secrets
import time

from fastapi import APIRouter, Response
from fastapi.concurrency import run_in_threadpool
from redis.exceptions import RedisError

from workers.errors import WebhookNotFoundError
from workers.queue.webhooks import WebhookStore
from workers.webhooks import Webhook

from ..dependencies import WebhookNetworks, Webhooks
from ..errors import RequestInvalidError, WebhookAddressError
from ..openapi import problems
from ..schemas import PREFIX
from ..webhook_schemas import NewWebhookOut, WebhookCreate, WebhookList, WebhookOut

router = APIRouter(prefix="/webhooks", tags=["webhooks"])

ONE = problems(WebhookNotFoundError, RedisError)

SECRET_BYTES = 24


@router.post(
    "",
    status_code=201,
    response_model=NewWebhookOut,
    responses=problems(RequestInvalidError, WebhookAddressError, RedisError),
)
async def create_webhook(
    body: WebhookCreate, response: Response, webhooks: Webhooks, networks: WebhookNetworks
) -> NewWebhookOut:
    """Have an address be told of events from now on; the answer holds the secret that signs messages."""
    assert body.url.host is not None, "HttpUrl has one"
    assert body.url.port is not None, "and a port"
    await networks.address_of(body.url.host.strip("[]"), body.url.port)
    webhook = Webhook(
        id=secrets.token_hex(8),
        url=str(body.url),
        events=tuple(dict.fromkeys(body.events)),
        secret=f"whsec_{base64.b64encode(secrets.token_bytes(SECRET_BYTES)).decode()}",
        created_at=time.time(),
    )
    await run_in_threadpool(webhooks.add, webhook)
    response.headers["Location"] = f"{PREFIX}/webhooks/{webhook.id}"
    return NewWebhookOut(**WebhookOut.of(webhook, None).model_dump(), secret=webhook.secret)


@router.get("", response_model=WebhookList, responses=problems(RedisError))
def list_webhooks(webhooks: Webhooks) -> WebhookList:
    """List all webhooks, and how their last deliveries went."""
    return WebhookList(webhooks=[webhook_out(webhooks, one) for one in webhooks.all()])


@router.get("/{webhook_id}", response_model=WebhookOut, responses=ONE)
def get_webhook(webhook_id: str, webhooks: Webhooks) -> WebhookOut:
    """Get one webhook, and how its last delivery went."""
    return webhook_out(webhooks, webhooks.get(webhook_id))


@router.post("/{webhook_id}/ping", status_code=202, response_model=WebhookOut, responses=ONE)
def ping_webhook(webhook_id: str, webhooks: Webhooks) -> WebhookOut:
    """Send a webhook a message of type `ping`, to see that it arrives."""
    webhook = webhooks.get(webhook_id)
    webhooks.ping(webhook_id)
    return webhook_out(webhooks, webhook)


@router.delete("/{webhook_id}", status_code=204, responses=ONE)
def delete_webhook(webhook_id: str, webhooks: Webhooks) -> None:
    """Tell an address nothing any more."""
    webhooks.remove(webhook_id)


def webhook_out(webhooks: WebhookStore, webhook: Webhook) -> WebhookOut:
    """Return the JSON form of a webhook."""
    return WebhookOut.of(webhook, webhooks.last(webhook.id))
