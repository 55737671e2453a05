"""Warnings of a job: each of its own cause, none without one."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from model.card import ColourStatistics, ModelCard
from workers.engine.job_warnings import job_warnings
from workers.engine.tissue import job_grid
from workers.jobs import JobParameters
from workers.protocol import RunJob
from wsi.geometry import Rect
from wsi.phantom import PhantomSlide
from wsi.plan import make_plan
from wsi.reading.slide import open_slide
from wsi.tissue import find_tissue

from .test_pipeline import CARD

Pixels = NDArray[np.uint8]
REAL = replace(CARD, phantom=False)


@pytest.fixture(scope="module")
def stained() -> Pixels:
    """1100 px of a phantom's tissue, in focus and coloured as H&E is."""
    phantom = PhantomSlide(6000, seed=3, mpp=0.467, version=1)
    return phantom.render(Rect(2300, 2300, 1100, 1100))


def write(
    path: Path,
    pixels: Pixels,
    *,
    mpp: float | None = 0.467,
    description: str = "scan",
    blur_px: float = 0,
) -> Path:
    """The pixels on a slide with a rim of glass, as tissue has."""
    slide = np.full((pixels.shape[0] + 300, pixels.shape[1] + 300, 3), 244, np.uint8)
    slide[150:-150, 150:-150] = pixels
    slide = np.asarray(Image.fromarray(slide).filter(ImageFilter.GaussianBlur(blur_px)))
    resolution = {"resolution": (1e4 / mpp, 1e4 / mpp), "resolutionunit": "CENTIMETER"} if mpp else {}
    tifffile.imwrite(
        path, slide, tile=(256, 256), photometric="rgb", description=description, metadata=None,
        **resolution,
    )  # fmt: skip
    return path


def found(path: Path, card: ModelCard = REAL, **parameters: float) -> dict[str, str]:
    """The words of each code."""
    asked = JobParameters(**parameters)  # type: ignore[arg-type]
    run = RunJob("job", 1, path.name, str(path), str(path.parent), card.name, asked)
    with open_slide(path, mpp=asked.mpp) as slide:
        grid = job_grid(run, slide, card.input)
        tissue = find_tissue(slide, grid)
        warnings = job_warnings(run, slide, card, make_plan(grid, tissue), tissue)
    return {warning.code: warning.words for warning in warnings}


def test_a_good_slide_and_a_real_model_have_none(stained: Pixels, tmp_path: Path) -> None:
    assert found(write(tmp_path / "s.tif", stained)) == {}
    assert found(write(tmp_path / "s.tif", stained), mpp=0.4671) == {}, "the same mpp is no override"


def test_phantom_weights_on_a_slide_that_is_none(stained: Pixels, tmp_path: Path) -> None:
    assert "threshold" in found(write(tmp_path / "s.tif", stained), CARD)["phantom-weights"]
    mark = "Synthetic phantom slide for trying software, not tissue; seed 3"
    assert found(write(tmp_path / "s.tif", stained, description=mark), CARD) == {}


def test_classes_that_no_training_pixel_had(stained: Pixels, tmp_path: Path) -> None:
    card = replace(REAL, untrained=(2,))
    assert "light" in found(write(tmp_path / "s.tif", stained), card)["class-untrained"]


def test_an_mpp_that_overrules_the_slide(stained: Pixels, tmp_path: Path) -> None:
    words = found(write(tmp_path / "s.tif", stained), mpp=0.5)["mpp-overridden"]
    assert "0.5 um" in words
    assert "0.467 um" in words
    assert found(write(tmp_path / "s.tif", stained, mpp=None), mpp=0.5) == {}, "nothing was overruled"


def test_an_mpp_guessed_from_the_objective(stained: Pixels, tmp_path: Path) -> None:
    aperio = "Aperio Image Library v1\n1400x1400 [0,0 1400x1400] (256x256) JPEG/RGB Q=30|AppMag = 20"
    words = found(write(tmp_path / "s.svs", stained, mpp=None, description=aperio))["mpp-guessed"]
    assert "0.5 um" in words


def test_no_tissue(stained: Pixels, tmp_path: Path) -> None:
    assert list(found(write(tmp_path / "s.tif", np.full_like(stained, 244)))) == ["no-tissue"]


def brown(pixels: Pixels) -> Pixels:
    """DAB: blue is absorbed most."""
    return np.ascontiguousarray(pixels[:, :, [0, 2, 1]])


def dark(pixels: Pixels) -> Pixels:
    """Fluorescence: bright on black."""
    return np.ascontiguousarray(255 - pixels) // 8


def grey(pixels: Pixels) -> Pixels:
    return np.ascontiguousarray(pixels.mean(2, keepdims=True).astype(np.uint8).repeat(3, 2))


@pytest.mark.parametrize("change", [brown, dark, grey])
def test_colours_that_are_not_h_and_e(
    stained: Pixels, tmp_path: Path, change: Callable[[Pixels], Pixels]
) -> None:
    assert "colours-unlike-h-and-e" in found(write(tmp_path / "s.tif", change(stained)))


def test_colours_far_from_those_of_training(stained: Pixels, tmp_path: Path) -> None:
    path = write(tmp_path / "s.tif", stained)
    near, far = ((0.19, 0.40, 0.22), (0.5, 0.4, 0.2))
    deviation = (0.05, 0.05, 0.05)
    assert found(path, replace(REAL, colours=ColourStatistics(near, deviation))) == {}
    assert (
        "0.50, 0.40, 0.20"
        in found(path, replace(REAL, colours=ColourStatistics(far, deviation)))["colours-unlike-training"]
    )


def test_tissue_out_of_focus(stained: Pixels, tmp_path: Path) -> None:
    assert list(found(write(tmp_path / "s.tif", stained, blur_px=4))) == ["blurred"]


@pytest.mark.slow
def test_real_slides(real_slides: Path) -> None:
    slides = real_slides / "slides"
    assert list(found(slides / "CMU-1-Small-Region.svs", CARD)) == ["phantom-weights"]
    assert "colours-unlike-h-and-e" in found(slides / "test3-DAPI-2-387.ndpi")
