"""FastAPI dependencies of the routes: what the app holds."""

from asyncio import Semaphore
from typing import Annotated

from fastapi import Depends, Request

from workers.queue.client import JobClient

from .access.keys import KeyStore
from .access.sessions import SessionStore
from .assets import Assets
from .events import JobWatches
from .settings import ServiceSettings
from .slides.store import SlideStore
from .tiles.job_labels import JobLabelsCache
from .tiles.slide_readers import SlideReaders


def get_queue(request: Request) -> JobClient:
    """Return the app's job queue."""
    queue: JobClient = request.app.state.queue
    return queue


def get_slides(request: Request) -> SlideStore:
    """Return the app's slide store."""
    slides: SlideStore = request.app.state.slides
    return slides


def get_inspections(request: Request) -> Semaphore:
    """Return the semaphore to hold while a new slide is inspected.

    It bounds how many are at once: each takes a thread and a process of its own.
    """
    inspections: Semaphore = request.app.state.inspections
    return inspections


def get_settings(request: Request) -> ServiceSettings:
    """Return the settings the app was made with."""
    settings: ServiceSettings = request.app.state.settings
    return settings


def get_label_tiles(request: Request) -> JobLabelsCache:
    """Return the app's label tiles."""
    labels: JobLabelsCache = request.app.state.label_tiles
    return labels


def get_readers(request: Request) -> SlideReaders:
    """Return the app's readers of slides."""
    readers: SlideReaders = request.app.state.readers
    return readers


def get_watches(request: Request) -> JobWatches:
    """Return the jobs that the app watches for listeners."""
    watches: JobWatches = request.app.state.watches
    return watches


def get_keys(request: Request) -> KeyStore:
    """Return the app's API keys."""
    keys: KeyStore = request.app.state.keys
    return keys


def get_sessions(request: Request) -> SessionStore:
    """Return the app's login sessions."""
    sessions: SessionStore = request.app.state.sessions
    return sessions


def get_assets(request: Request) -> Assets:
    """Return the files of the browser page."""
    assets: Assets = request.app.state.assets
    return assets


Queue = Annotated[JobClient, Depends(get_queue)]
Slides = Annotated[SlideStore, Depends(get_slides)]
Inspections = Annotated[Semaphore, Depends(get_inspections)]
Settings = Annotated[ServiceSettings, Depends(get_settings)]
LabelTiles = Annotated[JobLabelsCache, Depends(get_label_tiles)]
Watches = Annotated[JobWatches, Depends(get_watches)]
Readers = Annotated[SlideReaders, Depends(get_readers)]
Keys = Annotated[KeyStore, Depends(get_keys)]
Sessions = Annotated[SessionStore, Depends(get_sessions)]
PageAssets = Annotated[Assets, Depends(get_assets)]
