"""Answer every error with a problem document (`service.errors` says which)."""

import math
from http import HTTPStatus

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException

from .errors import (
    QUEUE_UNAVAILABLE,
    RETRY_SECONDS,
    STATUS,
    KeyNeededError,
    RangeNotSatisfiableError,
    RateLimitedError,
    ResultNotReadyError,
    UploadOffsetError,
    problem,
    problem_kind,
)


async def handle_known(request: Request, error: Exception) -> JSONResponse:
    """Answer an error of the table; if the request brought a slide that is kept, say how to go on with it."""
    status = next(STATUS[ancestor] for ancestor in type(error).__mro__ if ancestor in STATUS)
    detail = QUEUE_UNAVAILABLE if isinstance(error, RedisError) else str(error)
    members = {}
    if slide_id := getattr(request.state, "kept_slide_id", None):
        members["slide_id"] = slide_id
        detail += (
            f' The uploaded slide is kept: send the job again as JSON, {{"slide_id": "{slide_id}", ...}} '
            "with the options, without a new upload, or DELETE the slide."
        )
    # A protocol on top of HTTP may want headers on every answer (`service.routes.uploads`).
    headers = {**getattr(request.state, "answer_headers", {}), **(headers_of(error, status) or {})}
    return problem(status, kind=problem_kind(type(error)), detail=detail, headers=headers, **members)


def headers_of(error: Exception, status: int) -> dict[str, str] | None:
    """Return the headers that go with the problem document of `error`."""
    if isinstance(error, UploadOffsetError):
        return {"Upload-Offset": str(error.offset)}
    if isinstance(error, RangeNotSatisfiableError):
        return {"Content-Range": f"bytes */{error.size}"}
    if isinstance(error, KeyNeededError):
        return {"WWW-Authenticate": 'Bearer realm="darefine"'}
    if isinstance(error, RateLimitedError):
        return {"Retry-After": str(math.ceil(error.retry_s))}
    coming = isinstance(error, ResultNotReadyError) and error.is_coming
    return {"Retry-After": RETRY_SECONDS} if status in (423, 503) or coming else None


async def handle_validation(_: Request, error: Exception) -> JSONResponse:
    """Answer a request that does not fit its schema, naming every invalid field."""
    assert isinstance(error, RequestValidationError)
    detail = "; ".join(
        f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in error.errors()
    )
    return problem(422, kind="request-invalid", detail=detail)


async def handle_http(request: Request, error: Exception) -> Response:
    """Answer the framework's own refusals (unknown path, wrong method, body too large).

    The framework names in `Allow` the methods of one route of the path, and others may have more.
    """
    assert isinstance(error, HTTPException)
    headers = dict(error.headers) if error.headers else None
    if error.status_code == 204:
        return Response(status_code=204, headers=headers)
    if error.status_code == 405:
        headers = {"Allow": request.app.state.methods.allowed(request.url.path)}
    phrase = HTTPStatus(error.status_code).phrase
    return problem(
        error.status_code, kind=phrase.lower().replace(" ", "-"), detail=error.detail, headers=headers
    )


async def handle_unexpected(_: Request, __: Exception) -> JSONResponse:
    """Answer an unexpected error; the traceback goes to the log, not to the client."""
    return problem(500, kind="internal", detail="This is a fault of the service; its log says more.")


def add_error_handlers(app: FastAPI) -> None:
    """Make every error leave `app` as a problem document."""
    for error in STATUS:
        app.add_exception_handler(error, handle_known)
    app.add_exception_handler(RequestValidationError, handle_validation)
    app.add_exception_handler(HTTPException, handle_http)
    app.add_exception_handler(Exception, handle_unexpected)
