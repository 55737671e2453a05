"""Write a label map as OME-Zarr labels (NGFF 0.5), the folder packed into one zip file.

Needs zarr, the extra `zarr`.
"""

import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import zarr

from ..atomic import atomic_file
from ..geometry import Rect
from ..grid import Grid
from ..palette import Palette
from .label_tiff import LabelTiff

CHUNK_PX = 1024
NAME = "classes"
"""Name of the label image in the `labels` group."""

_VERSION = "0.5"
_LONG_AGO = (1980, 1, 1, 0, 0, 0)
"""Time of all entries: same labels, same bytes."""


def write_ome_zarr(
    labels_path: Path,
    grid: Grid,
    palette: Palette,
    out: Path,
    progress: Callable[[float], None] = lambda _share: None,
) -> None:
    """Write all levels of `labels.tif` to `out`, a zip (not compressed again) of `labels/classes`.

    Axes are y and x in micrometres from the middle of the slide's first level-0 pixel. Colours and names of
    the classes are in the `image-label` metadata. Chunks of zeros are not stored. Same input, same bytes.
    Memory: a few chunks, whatever the slide; on disk the folder and the zip beside each other for a while.

    Raises:
        LabelTiffError: `labels.tif` cannot be read.
        OSError: the file cannot be written.
    """
    with (
        LabelTiff(labels_path) as labels,
        tempfile.TemporaryDirectory(
            dir=out.parent, prefix=f".{out.name}.", suffix=".partial", ignore_cleanup_errors=True
        ) as folder,
    ):
        _write_folder(Path(folder), labels, grid, palette, progress)
        with atomic_file(out) as temporary:
            _pack(Path(folder), temporary)
    progress(1.0)


def _write_folder(
    folder: Path, labels: LabelTiff, grid: Grid, palette: Palette, progress: Callable[[float], None]
) -> None:
    root = zarr.create_group(folder, zarr_format=3, attributes={"ome": {"version": _VERSION}})
    group = root.create_group("labels", attributes={"ome": {"version": _VERSION, "labels": [NAME]}})
    image = group.create_group(NAME, attributes={"ome": _metadata(grid, palette, len(labels.sizes))})
    chunks = [size.tiles(CHUNK_PX) for size in labels.sizes]
    total, done = sum(one.pixels for one in chunks), 0
    for level, (size, count) in enumerate(zip(labels.sizes, chunks, strict=True)):
        array = image.create_array(
            str(level),
            shape=(size.height, size.width),
            chunks=(min(CHUNK_PX, size.height), min(CHUNK_PX, size.width)),
            dtype="uint8",
            fill_value=0,
            dimension_names=("y", "x"),
            config={"write_empty_chunks": False},
        )
        for number in range(count.pixels):
            row, column = divmod(number, count.width)
            square = Rect(column * CHUNK_PX, row * CHUNK_PX, CHUNK_PX, CHUNK_PX)
            part = square.intersect(Rect.of(size))
            array[part.y : part.bottom, part.x : part.right] = labels.read(part, level)
            done += 1
            progress(0.9 * done / total)


def _metadata(grid: Grid, palette: Palette, levels: int) -> dict[str, Any]:
    """Return the `ome` attributes of the label image."""
    datasets = []
    for level in range(levels):
        side_um = grid.label_mpp * 2**level
        middle_um = (side_um - grid.slide_mpp) / 2
        transformations = [
            {"type": "scale", "scale": [side_um, side_um]},
            {"type": "translation", "translation": [middle_um, middle_um]},
        ]
        datasets.append({"path": str(level), "coordinateTransformations": transformations})
    axes = [{"name": name, "type": "space", "unit": "micrometer"} for name in ("y", "x")]
    colours = [{"label-value": one.value, "rgba": [*one.colour, 255]} for one in palette.classes]
    names = [{"label-value": one.value, "name": one.name} for one in palette.classes]
    return {
        "version": _VERSION,
        "multiscales": [{"name": NAME, "axes": axes, "datasets": datasets, "type": "mode"}],
        "image-label": {
            "colors": [{"label-value": 0, "rgba": [0, 0, 0, 0]}, *colours],
            "properties": [{"label-value": 0, "name": "not analysed"}, *names],
        },
    }


def _pack(folder: Path, out: Path) -> None:
    """Zip a folder, metadata before pixels, so that a reader finds it near the beginning."""
    files = sorted(
        (path for path in folder.rglob("*") if path.is_file()),
        key=lambda path: (path.name != "zarr.json", path.relative_to(folder).as_posix()),
    )
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for path in files:
            entry = zipfile.ZipInfo(path.relative_to(folder).as_posix(), _LONG_AGO)
            archive.writestr(entry, path.read_bytes())
