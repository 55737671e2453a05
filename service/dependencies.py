"""What routes ask for: the queue, the slides and the settings of the running app."""

from asyncio import Semaphore
from typing import Annotated

from fastapi import Depends, Request

from workers.queue.client import JobClient

from .settings import ServiceSettings
from .slides.store import SlideStore


def get_queue(request: Request) -> JobClient:
    """The app's job queue."""
    queue: JobClient = request.app.state.queue
    return queue


def get_slides(request: Request) -> SlideStore:
    """The app's slides."""
    slides: SlideStore = request.app.state.slides
    return slides


def get_inspections(request: Request) -> Semaphore:
    """Held while a new slide is looked at: in a thread and a process of its own, of which there shall not be too many."""
    inspections: Semaphore = request.app.state.inspections
    return inspections


def get_settings(request: Request) -> ServiceSettings:
    """The settings the app was made with."""
    settings: ServiceSettings = request.app.state.settings
    return settings


Queue = Annotated[JobClient, Depends(get_queue)]
Slides = Annotated[SlideStore, Depends(get_slides)]
Inspections = Annotated[Semaphore, Depends(get_inspections)]
Settings = Annotated[ServiceSettings, Depends(get_settings)]
