"""Deep Zoom addressing."""

from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wsi.deepzoom import DeepZoom
from wsi.geometry import Rect, Size

images = st.builds(
    DeepZoom,
    st.builds(Size, st.integers(1, 3000), st.integers(1, 3000)),
    tile_px=st.sampled_from([100, 254, 512]),
)


def test_levels_halve_down_to_one_pixel() -> None:
    zoom = DeepZoom(Size(1500, 1100))

    assert zoom.level_count == 12
    assert zoom.level_size(11) == Size(1500, 1100)
    assert zoom.level_size(10) == Size(750, 550)
    assert zoom.level_size(0) == Size(1, 1)
    assert (zoom.downsample(11), zoom.downsample(9)) == (1, 4)
    assert zoom.tiles(11) == Size(3, 3)


def test_edge_tiles_are_cut_and_scaled_to_the_full_size() -> None:
    zoom = DeepZoom(Size(1500, 1100))

    assert zoom.tile_rect(10, 1, 1) == Rect(512, 512, 238, 38)
    assert zoom.region(10, 1, 1) == Rect(1024, 1024, 476, 76)


@given(images, st.data())
def test_tiles_of_a_level_cover_it_once(zoom: DeepZoom, data: st.DataObject) -> None:
    level = data.draw(st.integers(0, zoom.level_count - 1))
    tiles, size = zoom.tiles(level), zoom.level_size(level)

    rects = [
        zoom.tile_rect(level, column, row) for row in range(tiles.height) for column in range(tiles.width)
    ]

    assert sum(rect.size.pixels for rect in rects) == size.pixels
    assert max(rect.right for rect in rects) == size.width
    assert max(rect.bottom for rect in rects) == size.height


@pytest.mark.parametrize("address", [(12, 0, 0), (-1, 0, 0), (11, 3, 0), (11, 0, 3), (11, -1, 0)])
def test_what_does_not_exist_is_an_index_error(address: tuple[int, int, int]) -> None:
    with pytest.raises(IndexError):
        DeepZoom(Size(1500, 1100)).tile_rect(*address)


def test_descriptor_names_size_and_tiles() -> None:
    image = ET.fromstring(DeepZoom(Size(1500, 1100)).descriptor("jpeg"))

    assert image.attrib == {"Format": "jpeg", "Overlap": "0", "TileSize": "512"}
    assert image[0].attrib == {"Width": "1500", "Height": "1100"}
