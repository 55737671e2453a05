"""Write the regions of a label map as GeoJSON that QuPath imports as annotations.

`python -m wsi.writing.geojson LABELS OUT OPTIONS` does it in a process of its own, for a service that must go
on answering; OPTIONS is the JSON of a `wsi.writing.region_options.RegionOptions`.
"""

import gzip
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import shapely

from ..atomic import atomic_file
from ..errors import LabelTiffError
from ..palette import LabelClass
from .label_tiff import LabelTiff
from .region_options import RegionOptions
from .regions import Region, trace_regions

_GZIP_LEVEL = 6


def write_regions(
    labels_path: Path,
    out: Path,
    options: RegionOptions,
    progress: Callable[[float], None] = lambda _fraction: None,
) -> int:
    """Write the regions of `labels.tif` to `out` as gzipped GeoJSON; return how many there are.

    A FeatureCollection of polygons in level-0 pixels of the slide, x right and y down from its upper left
    corner, each with class name and colour as QuPath has them and its area. Same input, same bytes.

    Raises:
        LabelTiffError: it cannot be read, or does not say its scale.
        OSError: the file cannot be written.
    """
    with LabelTiff(labels_path) as labels, atomic_file(out) as temporary:
        downsample, label_mpp = _scale(labels)
        regions = trace_regions(
            labels,
            tolerance_px=options.tolerance_um / label_mpp,
            min_area_px=options.min_area_um2 / label_mpp**2,
            progress=progress,
        )
        classes = {label.value: label for label in options.palette.classes}
        features = (
            _feature(region, classes[region.value], downsample, label_mpp)
            for region in regions
            if region.value in classes
        )
        # Name and time in the header would make other bytes each time.
        with (
            temporary.open("wb") as raw,
            gzip.GzipFile("", "wb", _GZIP_LEVEL, raw, mtime=0) as packed,
        ):
            count = 0
            for chunk in _collection(features, _about(labels, options)):
                packed.write(chunk.encode("ascii"))
                count += 1
    return count - 1


def _scale(labels: LabelTiff) -> tuple[int, float]:
    """Return level-0 px and um along the side of a label px.

    Raises:
        LabelTiffError: the file does not say.
    """
    try:
        mpp = labels.description["mpp"]
        return int(mpp["downsample"]), float(mpp["label"])
    except (KeyError, TypeError, ValueError) as error:
        raise LabelTiffError(
            f"{labels.name} does not say its scale. Give the labels.tif of a job, as it was downloaded."
        ) from error


def _about(labels: LabelTiff, options: RegionOptions) -> dict[str, Any]:
    """Return what made the polygons, as a foreign member of the collection."""
    made = {name: labels.description[name] for name in ("software", "model") if name in labels.description}
    return {**made, "tolerance_um": options.tolerance_um, "min_area_um2": options.min_area_um2}


def _collection(features: Iterator[Mapping[str, Any]], about: Mapping[str, Any]) -> Iterator[str]:
    """Yield the JSON text of a FeatureCollection, one feature a line; the last chunk is its end."""
    opening = '{"type": "FeatureCollection", "darefine": ' + json.dumps(about) + ', "features": [\n'
    for feature in features:
        yield opening + json.dumps(feature, separators=(",", ":"))
        opening = ",\n"
    yield "\n]}\n" if opening == ",\n" else opening + "]}\n"


def _feature(region: Region, label: LabelClass, downsample: int, label_mpp: float) -> dict[str, Any]:
    outline = shapely.orient_polygons(region.outline)
    rings = [
        (np.rint(shapely.get_coordinates(ring)).astype(np.int64) * downsample).tolist()
        for ring in shapely.get_rings(outline)
    ]
    return {
        "type": "Feature",
        "geometry": {"type": "Polygon", "coordinates": rings},
        "properties": {
            "objectType": "annotation",
            "classification": {"name": label.name, "color": list(label.colour)},
            "measurements": {"area_um2": round(outline.area * label_mpp**2, 3)},
        },
    }


def main(arguments: list[str]) -> int:
    """Write the file and return the exit status."""
    labels, out, options = arguments
    write_regions(Path(labels), Path(out), RegionOptions.from_json(options))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
