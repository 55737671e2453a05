"""Encode and decode label tiles: zlib ("Adobe deflate", TIFF compression 8), the same in every file."""

import functools
import zlib

import numpy as np
from numpy.typing import NDArray

from ..grid import TILE_PX

DEFLATE_LEVEL = 6
"""A compromise: 9 takes far longer for few bytes less, 1 gives far more bytes."""


def encode_tile(tile: NDArray[np.uint8]) -> bytes:
    """Encode a (512, 512) uint8 tile to the bytes of a TIFF tile. Same pixels, same bytes.

    Raises:
        ValueError: the tile has another shape or type.
    """
    if tile.shape != (TILE_PX, TILE_PX) or tile.dtype != np.uint8:
        raise ValueError(f"a tile is ({TILE_PX}, {TILE_PX}) uint8, got {tile.shape} {tile.dtype}")
    first = int(tile[0, 0])
    return encode_uniform(first) if (tile == first).all() else zlib.compress(tile.tobytes(), DEFLATE_LEVEL)


@functools.lru_cache(maxsize=256)
def encode_uniform(value: int) -> bytes:
    """Encode a tile that is `value` all over (about 280 bytes)."""
    return zlib.compress(bytes([value]) * (TILE_PX * TILE_PX), DEFLATE_LEVEL)


def decode_tile(encoded: bytes, side_px: int = TILE_PX) -> NDArray[np.uint8]:
    """Decode the bytes of a TIFF tile to (side_px, side_px) uint8, read-only.

    Memory: one tile, whatever the bytes.

    Raises:
        ValueError: the bytes are not exactly one tile.
    """
    decoder = zlib.decompressobj()
    try:
        # One byte past the tile is enough to notice a bomb, and never inflates it.
        raw = decoder.decompress(encoded, side_px * side_px + 1)
    except zlib.error as error:
        raise ValueError(f"tile does not inflate: {error}") from error
    if len(raw) != side_px * side_px:
        raise ValueError(f"tile inflates to {len(raw)} bytes instead of {side_px * side_px}")
    return np.frombuffer(raw, np.uint8).reshape(side_px, side_px)
