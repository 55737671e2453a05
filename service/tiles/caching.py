"""Set caching headers of tiles, and answer 304 when the client's copy is good."""

from fastapi import Request, Response
from starlette.staticfiles import NotModifiedResponse, StaticFiles

CONDITIONS = StaticFiles(check_dir=False)
"""Serves no files; used for its test of `If-None-Match` and `If-Modified-Since`."""

FOR_EVER = "private, max-age=31536000, immutable"
ASK_FIRST = "private, no-cache"


def caching_headers(etag: str, *, final: bool) -> dict[str, str]:
    """Return the headers of a tile: kept for ever if `final`, else kept and asked about each time."""
    return {"ETag": f'"{etag}"', "Cache-Control": FOR_EVER if final else ASK_FIRST}


def not_modified(request: Request, headers: dict[str, str]) -> Response | None:
    """Return a 304 if the request says that the client has what these `headers` describe; else None."""
    response = Response(headers=headers)
    if CONDITIONS.is_not_modified(response.headers, request.headers):
        return NotModifiedResponse(response.headers)
    return None
