"""Region route: the classes of a succeeded job as polygons."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import StreamingResponse
from redis.exceptions import RedisError
from starlette.staticfiles import NotModifiedResponse

from workers.errors import JobNotFoundError
from workers.jobs import JobFiles, result_stem
from wsi.palette import LabelClass, Palette
from wsi.writing.region_options import MIN_AREA_UM2, TOLERANCE_UM, RegionOptions, regions_command

from ..accept import takes_gzip
from ..dependencies import Converter, Queue
from ..errors import (
    ConversionFailedError,
    RangeNotSatisfiableError,
    RequestInvalidError,
    ResultNotReadyError,
)
from ..openapi import Responses, problems
from ..tiles.caching import CONDITIONS
from .results import TiffResponse, finished

GEOJSON = "application/geo+json"
CHUNK = 1 << 20

REGIONS: Responses = {
    200: {
        "description": "A GeoJSON FeatureCollection; gzipped if `Accept-Encoding` takes that",
        "content": {
            GEOJSON: {
                "example": {
                    "type": "FeatureCollection",
                    "features": [
                        {
                            "type": "Feature",
                            "geometry": {
                                "type": "Polygon",
                                "coordinates": [[[0, 0], [812, 0], [812, 640], [0, 640], [0, 0]]],
                            },
                            "properties": {
                                "objectType": "annotation",
                                "classification": {"name": "invasive", "color": [0, 0, 255]},
                                "measurements": {"area_um2": 113_300.0},
                            },
                        }
                    ],
                }
            }
        },
    },
    206: {"description": "Part of the gzipped file", "content": {"application/gzip": {"example": "..."}}},
    304: {"description": "`If-None-Match` names the file's `ETag`: the copy at hand is good"},
    **problems(
        JobNotFoundError,
        ResultNotReadyError,
        RangeNotSatisfiableError,
        RequestInvalidError,
        ConversionFailedError,
        RedisError,
    ),
}

router = APIRouter(prefix="/jobs/{job_id}", tags=["results"])


@router.get("/regions.geojson", response_class=Response, responses=REGIONS)
async def get_regions(
    job_id: str,
    request: Request,
    queue: Queue,
    conversions: Converter,
    tolerance_um: Annotated[
        float, Query(ge=0, le=1000, description="How far a border may lie from that of the pixels.")
    ] = TOLERANCE_UM,
    min_area_um2: Annotated[
        float, Query(ge=0, le=1e9, description="Smaller islands and holes are left out.")
    ] = MIN_AREA_UM2,
) -> Response:
    """Download the classes as polygons in level-0 pixels, as QuPath imports them.

    Made when first asked for, which takes seconds, on a large slide a minute or two, and kept with the job.
    """
    job = await run_in_threadpool(finished, queue, job_id)
    files = job.files
    path = files.regions(tolerance_um, min_area_um2)
    if not path.exists():
        options = RegionOptions(await run_in_threadpool(palette, files), tolerance_um, min_area_um2)
        try:
            await conversions.make(path, regions_command(files.labels, path, options))
        except ConversionFailedError:
            await run_in_threadpool(finished, queue, job_id)  # it may have been deleted meanwhile
            raise
    stem = result_stem(job.request.slide_name, job.request.model)
    return geojson(request, path, f"{stem}.regions.geojson")


def palette(files: JobFiles) -> Palette:
    """Return the classes of a result with their colours."""
    result = json.loads(files.result.read_text(encoding="ascii"))
    return Palette(
        tuple(LabelClass(one["value"], one["name"], tuple(one["colour"])) for one in result["classes"])
    )


def geojson(request: Request, path: Path, name: str) -> Response:
    """Return a gzipped file as it is, or unpacked for a client that does not take gzip; called `name`."""
    headers = {"Vary": "Accept-Encoding"}
    packed = TiffResponse(
        path,
        headers={**headers, "Content-Encoding": "gzip"},
        media_type=GEOJSON,
        filename=name,
        stat_result=path.stat(),
    )
    if takes_gzip(request.headers.get("accept-encoding", "")):
        if CONDITIONS.is_not_modified(packed.headers, request.headers):
            return NotModifiedResponse(packed.headers)
        return packed
    headers["Content-Disposition"] = packed.headers["Content-Disposition"]
    return StreamingResponse(unpacked(path), media_type=GEOJSON, headers=headers)


def unpacked(path: Path) -> Iterator[bytes]:
    """Yield the content of a gzipped file."""
    with gzip.open(path, "rb") as file:
        while chunk := file.read(CHUNK):
            yield chunk
