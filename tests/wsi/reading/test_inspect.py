"""Inspection of untrusted files, whose decoder may crash, hang or ask for too much memory."""

import json
import os
import subprocess
import sys

import pytest

from wsi.errors import SlideLimitError, SlideUnreadableError
from wsi.reading.inspect import inspect_slide
from wsi.reading.slide import open_slide
from wsi.reading.slide_info import SlideInfo


def test_says_what_open_slide_says(write_slide, scene) -> None:
    path = write_slide(scene)

    with open_slide(path) as slide:
        assert inspect_slide(path) == slide.info


def test_errors_keep_their_type_and_message(tmp_path, write_slide, scene) -> None:
    empty = tmp_path / "empty.svs"
    empty.touch()
    with pytest.raises(SlideUnreadableError, match="is empty"):
        inspect_slide(empty)

    huge = tmp_path / "pages.tif"
    huge.write_bytes(write_slide(scene, tile_width=256).read_bytes())
    _make_tiles_huge(huge)
    with pytest.raises(SlideLimitError, match="65520"):
        inspect_slide(huge)


def _make_tiles_huge(path) -> None:
    import tifffile

    with tifffile.TiffFile(path, mode="r+b") as tiff:
        tiff.pages[0].tags["TileWidth"].overwrite(65_520)


def test_pixels_that_cannot_be_decoded_show_at_once(write_slide, scene) -> None:
    import tifffile

    path = write_slide(scene, pyramid=False)
    with tifffile.TiffFile(path) as tiff:
        tiles = list(zip(tiff.pages[0].dataoffsets, tiff.pages[0].databytecounts, strict=True))
    data = bytearray(path.read_bytes())
    for offset, length in tiles:
        data[offset : offset + length] = bytes(length)
    path.write_bytes(data)

    with pytest.raises(SlideUnreadableError, match="cannot be decoded"):
        inspect_slide(path)


@pytest.mark.parametrize("tile", [0, 5, -1])
def test_one_damaged_tile_in_a_corner_shows_too(write_slide, scene, tile: int) -> None:
    import tifffile

    path = write_slide(scene, pyramid=False)
    with tifffile.TiffFile(path) as tiff:
        offset, length = tiff.pages[0].dataoffsets[tile], tiff.pages[0].databytecounts[tile]
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(bytes(length))

    with pytest.raises(SlideUnreadableError, match="cannot be decoded"):
        inspect_slide(path)


@pytest.mark.parametrize(
    ("program", "message"),
    [
        ("import os; os.abort()", "SIGABRT"),
        ("import sys; sys.exit(3)", "exit status 3"),
        ("print('[]')", "crashed"),
    ],
)
def test_a_decoder_that_dies_is_an_unreadable_slide(
    tmp_path, monkeypatch, program: str, message: str
) -> None:
    real_run = subprocess.run
    monkeypatch.setattr(
        "wsi.reading.inspect.subprocess.run",
        lambda command, **options: real_run([command[0], "-c", program], **options),
    )

    with pytest.raises(SlideUnreadableError, match=message):
        inspect_slide(tmp_path / "slide.svs")


def test_a_decoder_that_hangs_is_stopped(tmp_path, monkeypatch) -> None:
    real_run = subprocess.run
    monkeypatch.setattr(
        "wsi.reading.inspect.subprocess.run",
        lambda command, **options: real_run([command[0], "-c", "import time; time.sleep(60)"], **options),
    )

    with pytest.raises(SlideUnreadableError, match=r"within 0\.5 s"):
        inspect_slide(tmp_path / "slide.svs", timeout_s=0.5)


def test_the_command_prints_one_json_object(write_slide, scene) -> None:
    path = write_slide(scene)

    done = subprocess.run(
        [sys.executable, "-m", "wsi.reading.inspect", str(path)], capture_output=True, text=True, check=True
    )

    with open_slide(path) as slide:
        assert SlideInfo.from_json(json.loads(done.stdout)) == slide.info
    assert done.stderr == ""


@pytest.mark.skipif(sys.platform != "linux", reason="other systems do not hold to a limit of address space")
def test_a_decoder_that_asks_for_too_much_memory_gets_none() -> None:
    program = (
        "import numpy\n"
        "from wsi.reading.inspect import MEMORY_LIMIT_BYTES, limit_memory\n"
        "limit_memory()\n"
        "numpy.empty(2**20, numpy.uint8)\n"
        "try:\n"
        "    numpy.empty(MEMORY_LIMIT_BYTES, numpy.uint8)\n"
        "except MemoryError:\n"
        "    print('refused')\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry for entry in sys.path if entry)}

    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment
    )

    assert done.stdout == "refused\n"
