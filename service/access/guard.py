"""Put the guard in front of an app."""

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from ..settings import ServiceSettings
from .audit import AuditLog
from .keys import KeyStore
from .middleware import AccessMiddleware
from .sessions import SessionStore

TUS_HEADERS = (
    "Tus-Resumable",
    "Tus-Version",
    "Tus-Extension",
    "Tus-Max-Size",
    "Upload-Offset",
    "Upload-Length",
    "Upload-Expires",
)
"""Headers of the upload protocol that pages may read."""


def add_guard(app: FastAPI, settings: ServiceSettings) -> None:
    """Guard every call of `app`; keys and sessions of the data folder become part of its state."""
    data_dir = settings.data_dir
    app.state.keys = keys = KeyStore(data_dir)
    app.state.sessions = SessionStore(data_dir, keys, lifetime_s=settings.session_hours * 3600)
    app.add_middleware(
        AccessMiddleware,
        settings=settings,
        keys=keys,
        sessions=app.state.sessions,
        audit=AuditLog(data_dir),
    )
    if settings.cors_origins:
        add_cors(app, settings.cors_origins)


def add_cors(app: FastAPI, origins: tuple[str, ...]) -> None:
    """Let pages of `origins` call the service with a key; the login cookie stays the service's own page's."""
    app.add_middleware(
        CORSMiddleware,
        allow_origins=origins,
        allow_methods=["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"],
        allow_headers=["*"],
        expose_headers=["Content-Range", "ETag", "Location", "Retry-After", *TUS_HEADERS],
    )
