"""Outputs that a job asks for by name, each opened by somebody else's reader."""

import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openslide
import pytest
import pyvips
import tifffile
import torch
from numpy.typing import NDArray
from PIL import Image

from service.result_schema import ResultOut
from workers.errors import JobCancelledError
from workers.jobs import JobFiles, JobParameters
from workers.protocol import RunJob
from wsi.writing.pyramid_builder import PyramidBuilder

from ...wsi.aperio_slide import SECRET, is_loud, write_aperio_slide
from .test_pipeline import CARD, Threshold
from .test_pipeline import go as run_to_end

ASKED = ("probabilities", "confidence", "preview")
GLASS, DARK, LIGHT = (244, 244, 244), (90, 60, 120), (190, 150, 170)


class Sure(Threshold):
    """A Segmenter whose probability is the red value of the pixel."""

    def submit(self, pixels: NDArray[np.uint8], view: Any, *, probabilities: bool = False, **_: Any) -> Any:
        pending = super().submit(pixels, view)
        if not probabilities:
            return pending
        own = (rect.moved(-view.region.x, -view.region.y) for rect in view.slices)
        red = np.stack([pixels[one.y : one.bottom, one.x : one.right, 0] for one in own])
        return replace(pending, probabilities=replace(pending, labels=torch.from_numpy(red)))


@pytest.fixture(scope="module")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two patches of tissue at 1 um/px: noise in the left half, a light square in the dark right one."""
    pixels = np.full((2600, 5200, 3), GLASS, np.uint8)
    pixels[200:2400, 300:5000] = DARK
    noise = np.random.default_rng(0).integers(60, 180, (55, 50, 3), np.uint8)
    pixels[200:2400, 300:2300] = noise.repeat(40, 0).repeat(40, 1)
    pixels[600:1600, 3000:4000] = LIGHT
    path = tmp_path_factory.mktemp("slide") / "square.tif"
    tags = {"resolution": (1e4, 1e4), "resolutionunit": "CENTIMETER", "compression": "adobe_deflate"}
    tifffile.imwrite(path, pixels, tile=(256, 256), photometric="rgb", **tags)
    return path


def run_of(slide: Path, directory: Path, outputs: tuple[str, ...] = ASKED) -> RunJob:
    parameters = JobParameters(outputs=outputs)
    return RunJob("a" * 24, 1, slide.name, str(slide), str(directory), CARD.name, parameters)


def go(run: RunJob, network: Any = None, **how: Any) -> JobFiles:
    return run_to_end(run, network or Sure(), **how)


@pytest.fixture(scope="module")
def files(slide: Path, tmp_path_factory: pytest.TempPathFactory) -> JobFiles:
    """The files of a job that asked for all."""
    return go(run_of(slide, tmp_path_factory.mktemp("job")))


def levels(path: Path) -> list[NDArray[np.uint8]]:
    with tifffile.TiffFile(path) as tiff:
        return [page.asarray() for page in tiff.pages]


def test_pyramids_are_built_by_the_threads_that_store_patches(
    slide: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build, threads = PyramidBuilder.build, []

    def watched(builder: PyramidBuilder, column: int, row: int) -> NDArray[np.uint8] | None:
        threads.append(threading.current_thread().name.partition("_")[0])
        return build(builder, column, row)

    monkeypatch.setattr(PyramidBuilder, "build", watched)
    run_to_end(run_of(slide, tmp_path / "job", ()))
    assert set(threads) == {"write-behind"}, "nothing is left for the end"


def test_probabilities_are_a_pyramid_that_others_read(files: JobFiles, slide: Path) -> None:
    labels, found = levels(files.labels), levels(files.probabilities)
    assert [level.shape for level in found] == [level.shape for level in labels]
    red = tifffile.imread(slide)[..., 0]
    known = labels[0] > 0
    np.testing.assert_array_equal(found[0][known], red[known])
    for label, probability in zip(labels, found, strict=True):
        np.testing.assert_array_equal(label > 0, probability > 0)
    with openslide.OpenSlide(files.probabilities) as opened:
        assert opened.level_count == len(found)
        assert float(opened.properties["openslide.mpp-x"]) == pytest.approx(1.0)
        assert opened.read_region((3500, 1000), 0, (1, 1)).getpixel((0, 0))[0] == LIGHT[0]
    image = pyvips.Image.tiffload(str(files.probabilities), page=1)
    np.testing.assert_array_equal(image.numpy().squeeze(), found[1])
    by_ome = pyvips.Image.tiffload(str(files.probabilities), subifd=0)
    np.testing.assert_array_equal(by_ome.numpy().squeeze(), found[1])


def test_probabilities_are_an_ome_tiff(files: JobFiles) -> None:
    found = levels(files.probabilities)
    with tifffile.TiffFile(files.probabilities) as tiff:
        (series,) = tiff.series
        assert (series.kind, series.axes) == ("ome", "YX")
        for level, expected in zip(series.levels, found, strict=True):
            np.testing.assert_array_equal(level.asarray(), expected)
        image = tifffile.xml2dict(tiff.ome_metadata or "")["OME"]["Image"]
    assert image["Pixels"]["PhysicalSizeX"] == 1.0
    assert image["Pixels"]["Channel"]["Name"] == "probability of the label"
    described = json.loads(image["Description"])
    assert described["probability"]["calibrated"] is False
    assert described["model"]["name"] == CARD.name


def test_confidence_counts_the_pixels_of_both_maps(files: JobFiles) -> None:
    result = ResultOut.model_validate_json(files.result.read_text())
    facts = result.confidence
    assert facts is not None
    labels, values = levels(files.labels)[0], levels(files.probabilities)[0] / 255
    tissue = labels > 0
    assert facts.mean == pytest.approx(values[tissue].mean(), abs=1e-6)
    assert facts.below is not None
    for below in facts.below:
        expected = (values[tissue] < below.probability).mean()
        assert below.fraction == pytest.approx(expected, abs=1e-6)
    for one in facts.classes:
        assert one.mean == pytest.approx(values[labels == one.value].mean(), abs=1e-6)
    assert {"probabilities.tif", "preview.png"} <= set(result.files)


def test_a_preview_shows_slide_labels_and_legend(files: JobFiles) -> None:
    with Image.open(files.preview) as opened:
        assert opened.format == "PNG"
        picture = np.asarray(opened.convert("RGB"), np.int16)
    assert max(picture.shape) <= 1500
    scale = 1 / 4  # the least whole number that fits 5200 px into 1500
    light, dark = (picture[16 + int(1100 * scale), 16 + int(x * scale)] for x in (3500, 4500))
    red = np.array(CARD.classes[1].colour)
    assert np.abs(light - (np.array(LIGHT) + red) / 2).max() <= 6
    assert np.abs(dark - np.array(DARK) / 2).max() <= 6, "the colour of class dark is black"
    glass = picture[16 + int(2500 * scale), 16 + int(5100 * scale)]
    assert np.abs(glass - np.array(GLASS)).max() <= 4
    legend = picture[16 + int(2600 * scale) + 4 :]
    assert (np.abs(legend - red).max(-1) == 0).sum() > 150, "a square of the class's colour"


@pytest.mark.parametrize("compression", ["jpeg", "deflate"])
def test_label_and_macro_images_are_in_no_result(tmp_path: Path, compression: str) -> None:
    slide = write_aperio_slide(tmp_path / "case.svs", compression)
    mine = go(run_of(slide, tmp_path / "job"))
    with Image.open(mine.preview) as opened:
        assert not is_loud(np.asarray(opened.convert("RGB")))
    written = [path for path in mine.directory.rglob("*") if path.is_file()]
    assert mine.result in written
    for path in written:
        assert SECRET.encode() not in path.read_bytes(), path


def test_a_killed_job_goes_on_to_the_same_bytes(slide: Path, files: JobFiles, tmp_path: Path) -> None:
    network, done = Sure(), []
    run = run_of(slide, tmp_path / "job")
    with pytest.raises(JobCancelledError):
        go(
            run,
            network,
            report=lambda told: done.append(told.patches_done),
            cancelled=lambda: network.patches >= 1,
        )
    assert max(done) == 1
    mine = JobFiles(tmp_path / "job")
    assert len(list(mine.probability_patches.glob("*/*"))) == len(list(mine.patches.glob("*/*"))) == 1
    again = Sure()
    go(run, again)
    assert again.patches == 1
    assert mine.probabilities.read_bytes() == files.probabilities.read_bytes()
    assert mine.preview.read_bytes() == files.preview.read_bytes()
    assert not mine.probability_patches.exists()


@pytest.mark.slow
def test_a_patch_without_its_probabilities_is_done_again(slide: Path, tmp_path: Path) -> None:
    network = Sure()
    run = run_of(slide, tmp_path / "job")
    with pytest.raises(JobCancelledError):
        go(run, network, cancelled=lambda: network.patches >= 1)
    next(JobFiles(tmp_path / "job").probability_patches.glob("*/*")).unlink()
    again = Sure()
    go(run, again)
    assert again.patches == 2


@pytest.mark.slow
def test_patches_of_a_job_that_kept_none_are_not_taken_over(slide: Path, tmp_path: Path) -> None:
    network = Sure()
    with pytest.raises(JobCancelledError):
        go(run_of(slide, tmp_path / "job", ()), network, cancelled=lambda: network.patches >= 1)
    mine = JobFiles(tmp_path / "job")
    assert mine.patches.exists()
    assert not mine.probability_patches.exists(), "who does not ask does not pay"
    again = Sure()
    go(run_of(slide, tmp_path / "job", ("confidence",)), again)
    assert again.patches == 2
    assert not mine.probabilities.exists()
    assert ResultOut.model_validate_json(mine.result.read_text()).confidence is not None
