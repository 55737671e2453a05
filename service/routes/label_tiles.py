"""Label tiles of a job, while it runs and after."""

import io
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response
from PIL import Image
from redis.exceptions import RedisError

from workers.errors import JobNotFoundError
from wsi.grid import TILE_PX
from wsi.tiles.levels import has_tile
from wsi.writing.tile_codec import decode_tile

from ..dependencies import LabelTiles, Queue
from ..errors import RequestInvalidError, ResultFileNotFoundError, ResultNotReadyError, TileNotFoundError
from ..openapi import Responses, problems
from ..tile_schemas import LabelTilesOut
from ..tiles.caching import caching_headers, not_modified
from ..tiles.job_labels import JobLabels

PROBLEMS = problems(JobNotFoundError, ResultNotReadyError, RedisError)
TILE: Responses = {
    200: {
        "description": "512 x 512 bytes, the class of each pixel, row by row, as `Content-Encoding: deflate`",
        "content": {"application/octet-stream": {}, "image/png": {}},
    },
    204: {"description": "Nothing is labelled here (yet)"},
    304: {"description": "`If-None-Match` names the tile's `ETag`: the copy at hand is good"},
    **problems(JobNotFoundError, TileNotFoundError, ResultNotReadyError, RequestInvalidError, RedisError),
}

PROBABILITY_TILE: Responses = {
    **TILE,
    200: {
        "description": "512 x 512 bytes, the probability of each pixel's label in 255ths, row by row, as "
        "`Content-Encoding: deflate`; 0 is not analysed",
        "content": {"application/octet-stream": {}, "image/png": {}},
    },
    **problems(JobNotFoundError, TileNotFoundError, ResultFileNotFoundError),
}

Version = Annotated[
    str | None, Query(description="The `version` of the tiles; with it copies are kept for ever")
]
Format = Annotated[Literal["png"] | None, Query(description="A grey PNG instead")]

router = APIRouter(prefix="/jobs/{job_id}/tiles", tags=["tiles"])


@router.get("", response_model=LabelTilesOut, responses=PROBLEMS)
def get_label_tiles(job_id: str, queue: Queue, labels: LabelTiles) -> LabelTilesOut:
    """Get the grid of a job's label tiles, and which patches are stored while it runs."""
    job = queue.get(job_id)
    return LabelTilesOut.of(job, labels.of(job))


@router.get("/{level}/{column}_{row}", response_class=Response, responses=TILE)
def get_label_tile(
    job_id: str,
    level: int,
    column: int,
    row: int,
    request: Request,
    labels: LabelTiles,
    v: Version = None,
    format: Format = None,  # noqa: A002
) -> Response:
    """Get one tile of the label map; level 0 is full size, each next one half of it."""
    found = labels.get(job_id)
    return tile_response(request, found, (level, column, row), v == found.coverage().version, format)


@router.get("/probabilities/{level}/{column}_{row}", response_class=Response, responses=PROBABILITY_TILE)
def get_probability_tile(
    job_id: str,
    level: int,
    column: int,
    row: int,
    request: Request,
    labels: LabelTiles,
    v: Version = None,
    format: Format = None,  # noqa: A002
) -> Response:
    """Get one tile of the probabilities of the labels, of a job that keeps them (`outputs=probabilities`)."""
    found = labels.get(job_id, "probabilities")
    known = v is not None and v == labels.get(job_id).coverage().version
    return tile_response(request, found, (level, column, row), known, format)


def tile_response(
    request: Request, found: JobLabels, place: tuple[int, int, int], known: bool, kind: str | None
) -> Response:
    """Return a tile at `place` (level, column, row), or 304 when the client has it.

    `known` says whether the client names the present version; of a finished job it may keep such a tile for
    ever. `kind` is "png", or None for the bytes as they are stored.
    """
    if not has_tile(found.size, *place):
        raise TileNotFoundError(*place)
    # Before the tile is read: a patch stored meanwhile would be taken for known.
    etag = "-".join(map(str, (found.tile_version(*place), *place, kind or "deflate")))
    headers = caching_headers(etag, final=found.coverage().is_finished and known)
    unchanged = not_modified(request, headers)
    if unchanged is not None:
        return unchanged
    encoded = found.tile(*place)
    if encoded is None:
        return Response(status_code=204, headers=headers)
    if kind == "png":
        return Response(png(encoded), media_type="image/png", headers=headers)
    return Response(
        encoded, media_type="application/octet-stream", headers={**headers, "Content-Encoding": "deflate"}
    )


def png(encoded: bytes) -> bytes:
    """Return a stored tile as a grey PNG."""
    buffer = io.BytesIO()
    Image.fromarray(decode_tile(encoded, TILE_PX)).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()
