"""FastAPI dependencies of the routes: queue, slides, inspection limit, settings and page files of the app."""

from asyncio import Semaphore
from typing import Annotated

from fastapi import Depends, Request

from workers.queue.client import JobClient

from .assets import Assets
from .settings import ServiceSettings
from .slides.store import SlideStore


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


def get_assets(request: Request) -> Assets:
    """Return the files of the browser page."""
    assets: Assets = request.app.state.assets
    return assets


Queue = Annotated[JobClient, Depends(get_queue)]
Slides = Annotated[SlideStore, Depends(get_slides)]
Inspections = Annotated[Semaphore, Depends(get_inspections)]
Settings = Annotated[ServiceSettings, Depends(get_settings)]
PageAssets = Annotated[Assets, Depends(get_assets)]
