"""FastAPI dependencies of the routes: what the app holds in its state.

They are coroutines, though they wait for nothing: FastAPI calls plain functions in a thread, at each request.
"""

from asyncio import Semaphore
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Request

from workers.queue.batches import BatchStore
from workers.queue.client import JobClient
from workers.queue.webhooks import WebhookStore

from .access.keys import KeyStore
from .access.middleware import LOCAL, STATE
from .access.middleware import Caller as AccessCaller
from .access.sessions import SessionStore
from .assets import Assets
from .conversions import Conversions
from .events import JobWatches
from .metrics.requests import RequestMetrics
from .retention import Retention
from .settings import ServiceSettings
from .slides.resumable import ResumableUploads
from .slides.store import SlideStore
from .tiles.job_labels import JobLabelsCache
from .tiles.slide_readers import SlideReaders
from .turns import Turns
from .webhooks.networks import AllowedNetworks


def held(name: str) -> Callable[[Request], Any]:
    """Return a dependency that gives what the app holds under `name` (see `service.app`)."""

    async def get(request: Request) -> Any:
        return getattr(request.app.state, name)

    return get


async def caller(request: Request) -> AccessCaller:
    """Return who sent the call, as the guard found out."""
    found: AccessCaller | None = getattr(request.state, STATE, None)
    return found or LOCAL


Queue = Annotated[JobClient, Depends(held("queue"))]
Batches = Annotated[BatchStore, Depends(held("batches"))]
Keeper = Annotated[Retention, Depends(held("retention"))]
WebhookNetworks = Annotated[AllowedNetworks, Depends(held("webhook_networks"))]
Webhooks = Annotated[WebhookStore, Depends(held("webhooks"))]
Slides = Annotated[SlideStore, Depends(held("slides"))]
Uploads = Annotated[ResumableUploads, Depends(held("uploads"))]
UploadTurns = Annotated[Turns, Depends(held("turns"))]
Inspections = Annotated[Semaphore, Depends(held("inspections"))]
"""To hold while a new slide is inspected: bounds how many are, each in a thread and a process of its own."""
Converter = Annotated[Conversions, Depends(held("conversions"))]
Settings = Annotated[ServiceSettings, Depends(held("settings"))]
LabelTiles = Annotated[JobLabelsCache, Depends(held("label_tiles"))]
Watches = Annotated[JobWatches, Depends(held("watches"))]
Readers = Annotated[SlideReaders, Depends(held("readers"))]
Caller = Annotated[AccessCaller, Depends(caller)]
"""Who sent the call."""
Keys = Annotated[KeyStore, Depends(held("keys"))]
Sessions = Annotated[SessionStore, Depends(held("sessions"))]
Requests = Annotated[RequestMetrics, Depends(held("requests"))]
"""Counts of this process's requests."""
PageAssets = Annotated[Assets, Depends(held("assets"))]
