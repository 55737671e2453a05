"""Build the ASGI application."""

from asyncio import Semaphore
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version

from fastapi import FastAPI

from workers.queue.client import JobClient
from wsi.reading.inspect import inspect_slide

from .access.guard import add_guard
from .assets import Assets
from .errors import add_error_handlers
from .events import JobWatches
from .openapi import DocumentedApp
from .routes import events, health, jobs, label_tiles, models, pages, results, session, slide_tiles, slides
from .schemas import PREFIX, ProblemOut
from .settings import ServiceSettings
from .slides.store import SlideStore
from .stop_signals import on_stop_signal
from .tiles.job_labels import JobLabelsCache
from .tiles.slide_readers import SlideReaders

DESCRIPTION = """\
Whole-slide segmentation with DA-RefineNet. POST a slide to `/v1/jobs`, poll the job, download `overlay.tif`.

Errors are [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem documents. Not a medical device.
"""


def create_app(settings: ServiceSettings | None = None) -> FastAPI:
    """Create the app for `settings`, by default those of the environment (as uvicorn's factory calls it)."""
    settings = settings or ServiceSettings()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        app.state.settings = settings
        app.state.assets = Assets.load()
        app.state.slides = SlideStore(
            (settings.data_dir / "slides").resolve(),
            allowed=settings.slide_roots,
            max_bytes=settings.max_slide_bytes,
            inspect=partial(inspect_slide, timeout_s=settings.inspect_timeout_s),
        )
        app.state.inspections = Semaphore(settings.inspections)
        app.state.queue = JobClient.connect(settings.redis_url, settings.data_dir.resolve() / "jobs")
        app.state.label_tiles = JobLabelsCache(app.state.queue)
        app.state.watches = JobWatches(app.state.queue, app.state.label_tiles)
        app.state.readers = SlideReaders(
            readers=settings.tile_readers,
            open_slides=settings.tile_open_slides,
            timeout_s=settings.tile_timeout_s,
            quarantine_s=settings.tile_quarantine_s,
        )
        with on_stop_signal(app.state.watches.close):
            yield
        await app.state.readers.close()
        app.state.queue.close()

    app = DocumentedApp(
        title="DA-RefineNet whole-slide segmentation",
        version=version("darefine"),
        description=DESCRIPTION,
        lifespan=lifespan,
        # Those of FastAPI load their scripts from another host.
        docs_url=None,
        redoc_url=None,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        responses={"default": {"description": "A problem", "model": ProblemOut}},
    )
    add_error_handlers(app)
    add_guard(app, settings)
    for router in (
        session.router,
        jobs.router,
        results.router,
        label_tiles.router,
        events.router,
        slides.router,
        slide_tiles.router,
        models.router,
    ):
        app.include_router(router, prefix=PREFIX)
    app.include_router(health.router)
    app.include_router(pages.router)
    return app
