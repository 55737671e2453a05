"""The one encoding of a label tile: zlib ("Adobe deflate", TIFF compression 8), as it stands in every file we write."""

import functools
import zlib

import numpy as np
from numpy.typing import NDArray

from ..grid import TILE_PX

DEFLATE_LEVEL = 6
"""9 takes ten times as long for 15 % fewer bytes, 1 gives twice as many bytes (curved five-class borders)."""


def encode_tile(tile: NDArray[np.uint8]) -> bytes:
    """(512, 512) uint8 to the bytes of a TIFF tile. Same pixels, same bytes."""
    if tile.shape != (TILE_PX, TILE_PX) or tile.dtype != np.uint8:
        raise ValueError(f"a tile is ({TILE_PX}, {TILE_PX}) uint8, got {tile.shape} {tile.dtype}")
    first = int(tile[0, 0])
    return encode_uniform(first) if (tile == first).all() else zlib.compress(tile.tobytes(), DEFLATE_LEVEL)


@functools.lru_cache(maxsize=256)
def encode_uniform(value: int) -> bytes:
    """Bytes of a tile that is `value` all over (about 280 of them)."""
    return zlib.compress(bytes([value]) * (TILE_PX * TILE_PX), DEFLATE_LEVEL)


def decode_tile(encoded: bytes) -> NDArray[np.uint8]:
    """Bytes of a TIFF tile to (512, 512) uint8, read-only. Raises ValueError when they are not exactly one tile."""
    decoder = zlib.decompressobj()
    try:
        # One byte past the tile is enough to notice a bomb, and never inflates it.
        raw = decoder.decompress(encoded, TILE_PX * TILE_PX + 1)
    except zlib.error as error:
        raise ValueError(f"tile does not inflate: {error}") from error
    if len(raw) != TILE_PX * TILE_PX:
        raise ValueError(f"tile inflates to {len(raw)} bytes instead of {TILE_PX * TILE_PX}")
    return np.frombuffer(raw, np.uint8).reshape(TILE_PX, TILE_PX)
