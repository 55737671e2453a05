"""Page routes: the viewer, a job's report and the API's documentation, with the files that they load."""

from fastapi import APIRouter, Request, Response

from ..accept import takes_gzip
from ..assets import Asset
from ..dependencies import PageAssets
from ..errors import PageNotFoundError

SECURITY = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; "
    "base-uri 'none'; form-action 'self'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
"""Headers of every page: scripts, styles and requests of this host only, none of them inline."""

ALWAYS_ASK = "no-cache"
FOR_EVER = "public, max-age=31536000, immutable"

router = APIRouter(include_in_schema=False)


@router.api_route("/", methods=["GET", "HEAD"])
def viewer(request: Request, assets: PageAssets) -> Response:
    """Return the viewer."""
    return page(request, assets.pages["index.html"])


@router.api_route("/jobs/{job_id}/report", methods=["GET", "HEAD"])
def report(job_id: str, request: Request, assets: PageAssets) -> Response:  # noqa: ARG001  (the page reads it)
    """Return the printable report of a job; the page itself asks for the job."""
    return page(request, assets.pages["report.html"])


@router.api_route("/docs", methods=["GET", "HEAD"])
def documentation(request: Request, assets: PageAssets) -> Response:
    """Return the interactive documentation of the API."""
    return page(request, assets.pages["docs.html"])


@router.api_route("/assets/{version}/{path:path}", methods=["GET", "HEAD"])
def asset(version: str, path: str, request: Request, assets: PageAssets) -> Response:
    """Return a file that a page loads; its address holds the version, so it may be kept for ever.

    A page that was opened before an update asks for another version: it gets the present file, not to keep.

    Raises:
        PageNotFoundError: when there is no such file.
    """
    try:
        found = assets.files[path]
    except KeyError:
        raise PageNotFoundError(f"The page has no file {path!r}. Reload the page.") from None
    return conditional(
        request, found, {"Cache-Control": FOR_EVER if version == assets.version else ALWAYS_ASK}
    )


@router.api_route("/favicon.ico", methods=["GET", "HEAD"])
def icon(request: Request, assets: PageAssets) -> Response:
    """Return the icon for browsers that ask for it on pages that name none."""
    return conditional(request, assets.files["icon.svg"], {"Cache-Control": ALWAYS_ASK})


def page(request: Request, found: Asset) -> Response:
    """Return a page with the security headers."""
    return conditional(request, found, {"Cache-Control": ALWAYS_ASK, **SECURITY})


def conditional(request: Request, found: Asset, headers: dict[str, str]) -> Response:
    """Return the file, as gzip if the client takes it, or 304 when its copy is current."""
    headers = {**headers, "ETag": found.etag, "Vary": "Accept-Encoding"}
    if found.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if takes_gzip(request.headers.get("accept-encoding", "")):
        headers["Content-Encoding"] = "gzip"
        return Response(found.compressed, media_type=found.media_type, headers=headers)
    return Response(found.content, media_type=found.media_type, headers=headers)
