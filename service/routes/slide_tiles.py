"""Tiles and thumbnail of a slide."""

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool

from wsi.tiles.levels import has_tile
from wsi.tiles.reader import Request as ReadRequest
from wsi.tiles.reader import ThumbnailRequest, TileRequest

from ..dependencies import Readers, Slides
from ..errors import (
    RequestInvalidError,
    SlideNotFoundError,
    SlideQuarantinedError,
    TileNotFoundError,
    TilesBusyError,
    TileUnreadableError,
)
from ..openapi import Responses, problems
from ..slides.store import StoredSlide
from ..tile_schemas import SlideTilesOut
from ..tiles.caching import caching_headers, not_modified
from ..tiles.slide_readers import SlideReaders

TILES_VERSION = "1"
"""Raised when tiles of the same slide come to look otherwise."""

JPEG: Responses = {
    200: {"description": "The pixels, in sRGB", "content": {"image/jpeg": {}}},
    304: {"description": "`If-None-Match` names the `ETag`: the copy at hand is good"},
    **problems(
        SlideNotFoundError, RequestInvalidError, TileUnreadableError, SlideQuarantinedError, TilesBusyError
    ),
}
TILE: Responses = {**JPEG, **problems(SlideNotFoundError, TileNotFoundError)}

Version = Annotated[
    str | None, Query(description="The `version` of the tiles; with it copies are kept for ever")
]

router = APIRouter(prefix="/slides/{slide_id}", tags=["tiles"])


@router.get("/tiles", response_model=SlideTilesOut, responses=problems(SlideNotFoundError))
def get_slide_tiles(slide_id: str, slides: Slides) -> SlideTilesOut:
    """Get the grid of a slide's tiles. Their frame is the slide file's whole level 0."""
    slide = slides.get(slide_id)
    return SlideTilesOut.of(slide, version_of(slide))


@router.get("/tiles/{level}/{column}_{row}.jpeg", response_class=Response, responses=TILE)
async def get_slide_tile(
    slide_id: str,
    level: int,
    column: int,
    row: int,
    request: Request,
    slides: Slides,
    readers: Readers,
    v: Version = None,
) -> Response:
    """Get one tile of the slide; level 0 is full size, each next one half of it."""
    slide = await run_in_threadpool(slides.get, slide_id)
    if not has_tile(slide.info.size, level, column, row):
        raise TileNotFoundError(level, column, row)
    wanted = TileRequest(slide.id, slide.path, level, column, row)
    return await jpeg(request, readers, slide, wanted, f"{level}-{column}-{row}", v)


@router.get("/thumbnail", response_class=Response, responses=JPEG)
async def get_thumbnail(
    slide_id: str,
    request: Request,
    slides: Slides,
    readers: Readers,
    side: Annotated[int, Query(ge=32, le=1024, description="Longest side at most, in pixels")] = 256,
    v: Version = None,
) -> Response:
    """Get a small picture of the whole slide, made of its pixels and not of its label or macro image."""
    slide = await run_in_threadpool(slides.get, slide_id)
    wanted = ThumbnailRequest(slide.id, slide.path, side)
    return await jpeg(request, readers, slide, wanted, f"thumbnail-{side}", v)


async def jpeg(
    request: Request, readers: SlideReaders, slide: StoredSlide, wanted: ReadRequest, name: str, v: str | None
) -> Response:
    """Return what is wanted of a slide as JPEG, or 304 when the client has it."""
    version = version_of(slide)
    headers = caching_headers(f"{version}-{name}", final=v == version)
    unchanged = not_modified(request, headers)
    if unchanged is not None:
        return unchanged
    content = await readers.read(wanted, request.is_disconnected)
    return Response(content, media_type="image/jpeg", headers=headers)


def version_of(slide: StoredSlide) -> str:
    """Return what changes when tiles of the slide come to look otherwise; its own bytes never change."""
    return f"{slide.id[:8]}-{TILES_VERSION}"
