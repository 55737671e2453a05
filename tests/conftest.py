"""Fixtures that every room shares."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

# The same examples on every machine, and no clock: a busy machine is no failure.
settings.register_profile("darefine", deadline=None, derandomize=True)
settings.load_profile("darefine")

BROKEN_SLIDES = [
    "bomb_1Mx1M_deflate.tif",
    "corrupt_tile60.svs",
    "garbage.svs",
    "girder_zero_gi.tif",
    "osp_unopenable.tiff",
    "osp_unreadable.svs",
    "truncated_50pct.svs",
    "zero_bytes.svs",
]
"""Files of the real slides' `broken` folder that nobody could segment."""


@pytest.fixture(scope="session")
def real_slides() -> Path:
    """Folder of real and broken slides named by DAREFINE_TEST_SLIDES; without it tests are skipped."""
    folder = os.environ.get("DAREFINE_TEST_SLIDES")
    if folder is None or not Path(folder).is_dir():
        pytest.skip("set DAREFINE_TEST_SLIDES to a folder of real slides")
    return Path(folder)
