"""Build the ASGI application."""

import asyncio
from asyncio import Semaphore
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from importlib.metadata import version

from fastapi import Depends, FastAPI

from workers.queue.client import JobClient
from wsi.log_setup import configure_logging, take_over_server
from wsi.reading.inspect import inspect_slide

from .access.guard import add_guard
from .assets import Assets
from .batches.feeder import BatchFeeder
from .compress import GzipMiddleware
from .conversions import Conversions
from .error_handlers import add_error_handlers
from .events import JobWatches
from .methods import MethodMiddleware, MethodTable
from .metrics.requests import RequestMetrics, RequestMetricsMiddleware
from .openapi import DocumentedApp, operation_id
from .query_rules import require_known_parameters
from .retention import Retention, RetentionRules
from .routes import (
    batches,
    events,
    health,
    jobs,
    label_tiles,
    models,
    pages,
    prune,
    regions,
    results,
    session,
    slide_tiles,
    slides,
    uploads,
    webhooks,
)
from .schemas import PREFIX, ProblemOut
from .settings import ServiceSettings
from .slides.resumable import ResumableUploads
from .slides.store import SlideStore
from .slides.sweeper import sweeping
from .stop_signals import on_stop_signal
from .tiles.job_labels import JobLabelsCache
from .tiles.slide_readers import SlideReaders
from .turns import Turns
from .webhooks.networks import AllowedNetworks
from .webhooks.sender import WebhookSender

DESCRIPTION = """\
Whole-slide segmentation with DA-RefineNet. POST a slide to `/v1/jobs`, poll the job, download `overlay.tif`.

Errors are [RFC 9457](https://www.rfc-editor.org/rfc/rfc9457) problem documents. Not a medical device.
"""


ROUTERS = (
    session.router,
    jobs.router,
    batches.router,
    webhooks.router,
    prune.router,
    results.router,
    regions.router,
    label_tiles.router,
    events.router,
    slides.router,
    uploads.router,
    slide_tiles.router,
    models.router,
)
"""Those of the API, below PREFIX."""


def create_app(settings: ServiceSettings | None = None) -> FastAPI:
    """Create the app for `settings`, by default those of the environment (as uvicorn's factory calls it).

    In the second case the process is the API's own, and its logging is set up too.
    """
    if settings is None:
        settings = ServiceSettings()
        configure_logging(settings.log_level, settings.log_format)
        take_over_server()
    app = DocumentedApp(
        title="DA-RefineNet whole-slide segmentation",
        version=version("darefine"),
        description=DESCRIPTION,
        lifespan=partial(lifespan, settings),
        # Those of FastAPI load their scripts from another host.
        docs_url=None,
        redoc_url=None,
        license_info={"name": "Apache-2.0", "identifier": "Apache-2.0"},
        responses={"default": {"description": "A problem", "model": ProblemOut}},
        generate_unique_id_function=operation_id,
    )
    add_error_handlers(app)
    prefixed = [*((PREFIX, router) for router in ROUTERS), ("", health.router)]
    app.state.methods = methods = MethodTable([*prefixed, ("", pages.router)])
    app.add_middleware(GzipMiddleware)
    app.add_middleware(MethodMiddleware, methods=methods)
    add_guard(app, settings)
    app.state.requests = RequestMetrics()
    app.add_middleware(RequestMetricsMiddleware, metrics=app.state.requests)
    for prefix, router in prefixed:
        app.include_router(router, prefix=prefix, dependencies=[Depends(require_known_parameters)])
    app.include_router(pages.router)
    return app


@asynccontextmanager
async def lifespan(settings: ServiceSettings, app: FastAPI) -> AsyncIterator[None]:
    """Open what the routes use (`service.dependencies`), and close it when the app ends."""
    state = app.state
    state.settings = settings
    state.assets = Assets.load()
    state.slides = slides_of(settings)
    state.uploads = uploads_of(settings, state.slides)
    state.turns = Turns()
    state.inspections = Semaphore(settings.inspections)
    state.conversions = Conversions(settings.conversions)
    state.queue = JobClient.connect(settings.redis_url, settings.data_dir.resolve() / "jobs")
    state.queue.require_suitable()
    state.batches = state.queue.batches()
    state.webhooks = state.queue.webhooks()
    state.webhook_networks = AllowedNetworks(settings.webhook_networks)
    sender = WebhookSender(state.webhooks, state.queue, state.batches, state.webhook_networks)
    feeder = BatchFeeder(state.batches, state.queue, state.slides, state.inspections)
    await asyncio.to_thread(state.queue.claim_storage)
    state.label_tiles = JobLabelsCache(state.queue)
    state.watches = JobWatches(state.queue, state.label_tiles)
    state.readers = SlideReaders(
        ((settings.data_dir / "slides").resolve(), *settings.slide_roots),
        readers=settings.tile_readers,
        open_slides=settings.tile_open_slides,
        timeout_s=settings.tile_timeout_s,
        quarantine_s=settings.tile_quarantine_s,
    )
    state.retention = retention = Retention(state.queue, state.slides, RetentionRules.of(settings))
    sweeps = (state.slides.sweep, state.uploads.sweep, retention.sweep)
    with on_stop_signal(state.watches.close), sweeping(*sweeps):
        async with feeder.feeding(), sender.sending():
            yield
    await state.readers.close()
    state.queue.close()


def slides_of(settings: ServiceSettings) -> SlideStore:
    """Return the store of slides that settings name."""
    return SlideStore(
        (settings.data_dir / "slides").resolve(),
        allowed=settings.slide_roots,
        max_bytes=settings.max_slide_bytes,
        inspect=partial(inspect_slide, timeout_s=settings.inspect_timeout_s),
        keep_names=settings.slide_names,
    )


def uploads_of(settings: ServiceSettings, slides: SlideStore) -> ResumableUploads:
    """Return the unfinished uploads beside a store of slides."""
    return ResumableUploads(
        (settings.data_dir / "slides" / ".uploads").resolve(),
        slides,
        max_bytes=settings.max_slide_bytes,
        lifetime_s=settings.upload_hours * 3600,
    )
