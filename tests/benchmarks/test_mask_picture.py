"""The picture of a tissue mask."""

import numpy as np

from benchmarks.mask_picture import GLASS, LEFT_OUT, picture, searched, with_ink


def test_ink_and_border_are_drawn_and_left_out_and_the_tissue_is_not() -> None:
    slide = np.full((1600, 1200, 3), GLASS, np.uint8)
    slide[200:1400, 300:900] = np.random.default_rng(1).integers(
        (150, 60, 120), (200, 120, 180), (1200, 600, 3), np.uint8
    )

    drawn = with_ink(slide)
    tissue = searched(drawn, 1.0)
    shown = picture(drawn, tissue)

    assert drawn.shape == (2000, 2000, 3)
    assert drawn.max(axis=2)[:, -20:].max() < 10, "a black border"
    columns = np.nonzero(tissue.mask.any(axis=0))[0] * tissue.downsample
    assert 400 + 300 - 80 < columns.min() < columns.max() < 400 + 900 + 80
    assert max(shown.shape) <= 1400
    assert abs(float(shown[-100, 600].mean()) - GLASS * LEFT_OUT) < 3
    assert shown[700, 700].mean() > 100
