"""FastAPI dependencies of the routes: what the app holds in its state."""

from asyncio import Semaphore
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, Request

from workers.queue.client import JobClient

from .access.keys import KeyStore
from .access.sessions import SessionStore
from .assets import Assets
from .conversions import Conversions
from .events import JobWatches
from .settings import ServiceSettings
from .slides.store import SlideStore
from .tiles.job_labels import JobLabelsCache
from .tiles.slide_readers import SlideReaders


def held(name: str) -> Callable[[Request], Any]:
    """Return a dependency that gives what the app holds under `name` (see `service.app`)."""

    def get(request: Request) -> Any:
        return getattr(request.app.state, name)

    return get


Queue = Annotated[JobClient, Depends(held("queue"))]
Slides = Annotated[SlideStore, Depends(held("slides"))]
Inspections = Annotated[Semaphore, Depends(held("inspections"))]
"""To hold while a new slide is inspected: bounds how many are, each in a thread and a process of its own."""
Converter = Annotated[Conversions, Depends(held("conversions"))]
Settings = Annotated[ServiceSettings, Depends(held("settings"))]
LabelTiles = Annotated[JobLabelsCache, Depends(held("label_tiles"))]
Watches = Annotated[JobWatches, Depends(held("watches"))]
Readers = Annotated[SlideReaders, Depends(held("readers"))]
Keys = Annotated[KeyStore, Depends(held("keys"))]
Sessions = Annotated[SessionStore, Depends(held("sessions"))]
PageAssets = Annotated[Assets, Depends(held("assets"))]
