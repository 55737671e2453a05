"""Deep Zoom (DZI) addressing: which pixels a viewer's tile stands for. Pure arithmetic, no pixels.

Level `top` is the full size and each level below it half of that, rounded up, down to 1 x 1 px at level 0. With the
default tile side, tile (column, row) of level `top - k` lies where tile (column, row) of level k of a label TIFF does, but
TIFF levels are rounded down: the last column or row of a Deep Zoom level may be one px wider than the TIFF's, or have
no tile there at all (a map 1025 px wide is 513 px here, two tiles, and 512 px in the TIFF, one).
"""

from dataclasses import dataclass

from .geometry import Rect, Size, ceil_div
from .grid import TILE_PX


@dataclass(frozen=True, slots=True)
class DeepZoom:
    """The tiles of an image of `size` px, without overlap."""

    size: Size
    tile_px: int = TILE_PX

    @property
    def level_count(self) -> int:
        """Number of levels, the 1 x 1 px one included."""
        return (max(self.size.width, self.size.height) - 1).bit_length() + 1

    def downsample(self, level: int) -> int:
        """Full-size px per px of the level, a power of two. Raises IndexError for a level that does not exist."""
        if not 0 <= level < self.level_count:
            raise IndexError(f"Deep Zoom level {level} of {self.level_count}")
        return int(2 ** (self.level_count - 1 - level))

    def level_size(self, level: int) -> Size:
        """Size of a level in its own px."""
        step = self.downsample(level)
        return Size(ceil_div(self.size.width, step), ceil_div(self.size.height, step))

    def tiles(self, level: int) -> Size:
        """Columns and rows of tiles of a level."""
        return self.level_size(level).tiles(self.tile_px)

    def tile_rect(self, level: int, column: int, row: int) -> Rect:
        """The tile in px of its level, cut at the edge. Raises IndexError for a tile that does not exist."""
        tiles = self.tiles(level)
        if not (0 <= column < tiles.width and 0 <= row < tiles.height):
            raise IndexError(f"Deep Zoom tile ({column}, {row}) of {tiles.width} x {tiles.height}")
        whole = Rect(column * self.tile_px, row * self.tile_px, self.tile_px, self.tile_px)
        return whole.intersect(Rect.of(self.level_size(level)))

    def region(self, level: int, column: int, row: int) -> Rect:
        """The tile in full-size px: what to read at `downsample(level)`; may stick out by less than one level px."""
        return self.tile_rect(level, column, row).scaled(self.downsample(level))

    def descriptor(self, image_format: str) -> str:
        """The .dzi document, for tiles of `image_format` ("jpeg", "png")."""
        return (
            '<?xml version="1.0" encoding="UTF-8"?>'
            f'<Image xmlns="http://schemas.microsoft.com/deepzoom/2008" Format="{image_format}" Overlap="0" '
            f'TileSize="{self.tile_px}"><Size Width="{self.size.width}" Height="{self.size.height}"/></Image>'
        )
