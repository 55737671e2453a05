"""Compare half-size pixels from libjpeg's scaled transform with decoding all and averaging.

`python -m benchmarks.decisions.scaled_jpeg`, or with `--slide slide.svs`
"""

import tempfile
from pathlib import Path

import click
import numpy as np
import simplejpeg  # type: ignore[import-untyped, unused-ignore]
from numpy.typing import NDArray

from model.evaluation.report import markdown
from workers.bench.measure import machine
from wsi.geometry import Rect
from wsi.phantom import write_phantom
from wsi.reading.levels import reduce_mean
from wsi.reading.slide import open_slide

from ..slides import PHANTOM_VERSION
from .fastest import fastest_ms

SIDE_PX, TILE_PX, QUALITY = 2048, 256, 80


def tiles_of(slide_path: Path) -> list[bytes]:
    """Return the middle of the slide, SIDE_PX square, as JPEG tiles with halved chroma."""
    with open_slide(slide_path) as slide:
        size = slide.info.size
        corner = ((size.width - SIDE_PX) // 2, (size.height - SIDE_PX) // 2)
        pixels = slide.read_region(Rect(*corner, SIDE_PX, SIDE_PX), 1)
    starts = range(0, SIDE_PX, TILE_PX)
    cut = (np.ascontiguousarray(pixels[y : y + TILE_PX, x : x + TILE_PX]) for y in starts for x in starts)
    return [simplejpeg.encode_jpeg(tile, quality=QUALITY, colorsubsampling="420") for tile in cut]


def scaled(tile: bytes) -> NDArray[np.uint8]:
    """Return the tile at half size, by libjpeg's transform."""
    half = TILE_PX // 2
    return np.asarray(simplejpeg.decode_jpeg(tile, "RGB", strict=True, min_height=half, min_width=half))


def averaged(tile: bytes) -> NDArray[np.uint8]:
    """Return the tile at half size, decoded whole and averaged over 2 x 2 px."""
    return reduce_mean(simplejpeg.decode_jpeg(tile, "RGB", strict=True), 2)


@click.command()
@click.option("--slide", type=click.Path(exists=True, path_type=Path), help="Instead of a phantom.")
@click.option("--repeats", type=click.IntRange(min=1), default=10, show_default=True)
def main(slide: Path | None, repeats: int) -> None:
    """Print the shortest time of both on one thread, and how far their pixels are apart."""
    with tempfile.TemporaryDirectory() as folder:
        tiles = tiles_of(
            slide
            or write_phantom(
                Path(folder) / "phantom.tif", size_px=4096, seed=1, version=PHANTOM_VERSION
            ).slide
        )
    times = fastest_ms({"s": lambda: [*map(scaled, tiles)], "a": lambda: [*map(averaged, tiles)]}, repeats)
    apart = np.abs(np.stack([scaled(tile).astype(int) - averaged(tile) for tile in tiles]))
    head = ["slide", "scaled ms", "decoded whole and averaged ms", "mean difference", "largest"]
    cells = [*(f"{ms:.1f}" for ms in times.values()), f"{apart.mean():.2f}", str(apart.max())]
    click.echo(f"{markdown([head, [slide.name if slide else 'phantom', *cells]])}\n\n{machine()}")


if __name__ == "__main__":
    main()
