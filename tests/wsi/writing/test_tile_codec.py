"""The one encoding of a label tile."""

import zlib

import numpy as np
import pytest

from wsi.grid import TILE_PX
from wsi.writing.tile_codec import decode_tile, encode_tile, encode_uniform


def test_tiles_come_back() -> None:
    tile = np.random.default_rng(0).integers(0, 5, (TILE_PX, TILE_PX), dtype=np.uint8)

    assert (decode_tile(encode_tile(tile)) == tile).all()


def test_uniform_tiles_are_one_small_encoding() -> None:
    assert encode_tile(np.full((TILE_PX, TILE_PX), 3, np.uint8)) == encode_uniform(3)
    assert len(encode_uniform(0)) < 400
    assert (decode_tile(encode_uniform(3)) == 3).all()


@pytest.mark.parametrize(
    "encoded",
    [b"", b"nonsense", encode_uniform(0)[:100], zlib.compress(bytes(100)), zlib.compress(bytes(50_000_000))],
)
def test_what_is_not_exactly_one_tile_is_refused(encoded: bytes) -> None:
    with pytest.raises(ValueError, match="tile"):
        decode_tile(encoded)


def test_other_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="uint8"):
        encode_tile(np.zeros((4, 4), np.uint8))
