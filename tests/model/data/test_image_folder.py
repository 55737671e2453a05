"""Folders of images with masks become slides with truth."""

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from model.data.annotated_slide import AnnotatedSlide
from model.data.batch import BatchSpec
from model.data.image_folder import Coding, index_images, prepare_images
from model.data.image_list import images_of_folders, images_of_index, split_images
from model.data.index import SlideIndex
from model.data.loader import BatchLoader
from model.data.sampler import EDGE_SHARE, RandomPatchSampler, index_slides
from model.data.slices import PAPER_INPUT
from model.data.splits import SlideWithTruth, Split
from model.errors import CohortError
from wsi.errors import MppOutOfRangeError
from wsi.geometry import Rect

CODING = {
    "data_set": {"name": "Trial", "tissue": "none", "attribution": "made here"},
    "classes": [
        {"name": "ground", "colour": [200, 150, 180], "codes": [1, 5]},
        {"name": "lump", "colour": [90, 40, 120], "codes": [2]},
    ],
    "ignore": [0, 7],
}
COLOURS = np.array([[255, 255, 255], [220, 160, 190], [90, 40, 120]], np.uint8)

WriteImage = Callable[..., NDArray[np.uint8]]


@pytest.fixture
def coding(tmp_path: Path) -> Coding:
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(CODING))
    return Coding.load(path)


@pytest.fixture
def write_image(tmp_path: Path) -> WriteImage:
    """Writes an image with a dark square on light ground, and its mask of codes; returns the codes."""
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()

    def write(name: str, *, width: int = 240, height: int = 180, code: int = 2) -> NDArray[np.uint8]:
        codes = np.ones((height, width), np.uint8)
        codes[height // 4 : height // 2, width // 4 : width // 2] = code
        codes[:, : width // 16] = 0
        pixels = COLOURS[np.minimum(codes, 2)]
        Image.fromarray(pixels).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(codes).save(tmp_path / "masks" / f"{name}.png")
        return codes

    return write


def bcss(patient: str, number: int, mpp: str = "0.2500") -> str:
    return f"TCGA-A1-{patient}-DX1_xmin{45749 + number}_ymin25055_MPP-{mpp}"


def test_regions_named_as_bcss_keep_their_pixels_and_split_by_patient(
    tmp_path: Path, coding: Coding, write_image: WriteImage
) -> None:
    names = [bcss("A0SK", 0), bcss("A0SK", 1), bcss("A0SP", 0), bcss("A0SQ", 0)]
    codes = {name: write_image(name, width=411, height=302) for name in names}
    listed = images_of_folders(tmp_path / "images", tmp_path / "masks", None)
    assert [image.group for image in listed] == ["TCGA-A1-A0SK"] * 2 + ["TCGA-A1-A0SP", "TCGA-A1-A0SQ"]
    split = Split(("TCGA-A1-A0SK",), ("TCGA-A1-A0SP",), ("TCGA-A1-A0SQ",))
    prepared = prepare_images(split_images(listed, split), tmp_path / "out", coding, PAPER_INPUT)
    index_images(prepared, coding, PAPER_INPUT).save(tmp_path / "out" / "index.json")

    index = SlideIndex.load(tmp_path / "out" / "index.json")

    assert index.data_set == coding.data_set
    assert [entry.name for entry in index.classes] == ["ground", "lump"]
    assert [pair.slide.stem for pair in index.cohort.train] == names[:2]
    assert index.cohort.to_json() == {
        "train": ["TCGA-A1-A0SK"],
        "validation": ["TCGA-A1-A0SP"],
        "test": ["TCGA-A1-A0SQ"],
    }
    with AnnotatedSlide.open(index.cohort.test[0], index.input) as slide:
        assert (slide.grid.slide_mpp, slide.grid.downsample) == (pytest.approx(0.25), 4)
        assert (slide.grid.label_size.width, slide.grid.label_size.height) == (102, 75)
        rect = Rect(0, 0, 102, 75)
        # Each label px has the code under its middle, and the mean colour of its 4 x 4 px.
        expected = np.array([0, 1, 2], np.uint8)[codes[names[3]][2::4, 2::4][:75, :102]]
        np.testing.assert_array_equal(slide.read_truth(rect), expected)
        pixels = COLOURS[codes[names[3]]][:300, :408].reshape(75, 4, 102, 4, 3).mean((1, 3))
        assert np.abs(slide.read_pixels(rect) - pixels).max() <= 1
    assert [(row.rect, row.slide) for row in index.test] == [(Rect(0, 0, 128, 128), 0)]


def test_squeezed_images_are_stretched_and_codes_stay_codes(
    tmp_path: Path, coding: Coding, write_image: WriteImage
) -> None:
    write_image("a", width=224, height=224)
    pair = _prepared(tmp_path, coding, mpp=(1.43, 1.07))
    with AnnotatedSlide.open(pair, replace(PAPER_INPUT, mpp=1.4)) as slide:
        size = slide.grid.label_size
        assert (size.width, size.height) == (round(224 * 1.43 / 1.4), round(224 * 1.07 / 1.4))
        truth = slide.read_truth(Rect(-10, -10, size.width + 20, size.height + 20))
        assert not truth[:10].any()
        truth = truth[10:-10, 10:-10]
        assert set(np.unique(truth)) == {0, 1, 2}
        ys, xs = np.nonzero(truth == 2)
        assert xs.max() + 1 - xs.min() == pytest.approx(size.width / 4, abs=1)
        assert ys.max() + 1 - ys.min() == pytest.approx(size.height / 4, abs=1)
        lump = slide.read_pixels(Rect.of(size))[truth == 2]
        assert np.abs(np.median(lump, axis=0) - COLOURS[2]).max() <= 2


def test_an_index_names_sets_and_groups_and_leaves_out_training_rows(
    tmp_path: Path, write_image: WriteImage
) -> None:
    rows = [
        ("a", "train", "1", "0"),
        ("b", "train", "1", "1"),
        ("c", "val", "2", "1"),
        ("d", "test", "3", "0"),
    ]
    for name, *_ in rows:
        write_image(name)
    _write_csv(tmp_path / "index.csv", rows)
    listed = images_of_index(tmp_path, tmp_path / "index.csv", (0.93, 0.93), leave_out={"uniform": "1"})
    assert {name: [image.name for image in images] for name, images in listed.items()} == {
        "train": ["a"],
        "validation": ["c"],
        "test": ["d"],
    }
    assert [image.group for images in listed.values() for image in images] == [
        "patient 1",
        "patient 2",
        "patient 3",
    ]


def test_a_patient_in_two_sets_is_refused(tmp_path: Path, coding: Coding, write_image: WriteImage) -> None:
    rows = [("a", "train", "1", "0"), ("b", "validation", "1", "0"), ("c", "test", "2", "0")]
    for name, *_ in rows:
        write_image(name)
    _write_csv(tmp_path / "index.csv", rows)
    listed = images_of_index(tmp_path, tmp_path / "index.csv", (0.93, 0.93))
    prepared = prepare_images(listed, tmp_path / "out", coding, PAPER_INPUT)
    with pytest.raises(CohortError, match="patient 1: images of one group in several sets"):
        index_images(prepared, coding, PAPER_INPUT)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("a", "holdout", "1", "0")], 'line 2: split is "holdout"'),
        ([("gone", "train", "1", "0")], r"gone\.png is not there"),
        ([("a", "train", "1", "0")] * 2, "several images of one name"),
        ([], "lacks rows"),
    ],
)
def test_a_wrong_index_is_refused(
    tmp_path: Path, write_image: WriteImage, rows: list[tuple[str, ...]], message: str
) -> None:
    write_image("a")
    _write_csv(tmp_path / "index.csv", rows)
    with pytest.raises(CohortError, match=message):
        images_of_index(tmp_path, tmp_path / "index.csv", (0.93, 0.93))


def test_wrong_files_are_refused(tmp_path: Path, coding: Coding, write_image: WriteImage) -> None:
    write_image("a", code=3)
    with pytest.raises(CohortError, match=r"a\.png has the codes \[3\]"):
        _prepared(tmp_path, coding)
    Image.new("RGB", (240, 180)).save(tmp_path / "masks" / "a.png")
    with pytest.raises(CohortError, match="one channel"):
        _prepared(tmp_path, coding)
    Image.new("L", (240, 100), 1).save(tmp_path / "masks" / "a.png")
    with pytest.raises(CohortError, match="240 x 100 px, its image 240 x 180"):
        _prepared(tmp_path, coding)
    (tmp_path / "masks" / "a.png").write_text("none")
    with pytest.raises(CohortError, match="cannot be read as an image"):
        _prepared(tmp_path, coding)
    (tmp_path / "masks" / "a.png").rename(tmp_path / "masks" / "b.png")
    with pytest.raises(CohortError, match=r"lacks the masks of a\.png"):
        images_of_folders(tmp_path / "images", tmp_path / "masks", (1, 1), group="(.)")


def test_images_without_a_scale_a_patient_or_enough_detail_are_refused(
    tmp_path: Path, coding: Coding, write_image: WriteImage
) -> None:
    write_image("a")
    folders = tmp_path / "images", tmp_path / "masks"
    with pytest.raises(CohortError, match="Give --group"):
        images_of_folders(*folders, (1, 1))
    with pytest.raises(CohortError, match="Give --image-mpp"):
        images_of_folders(*folders, None, group="(.)")
    with pytest.raises(MppOutOfRangeError):
        _prepared(tmp_path, coding, mpp=(3.0, 3.1))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ignore": [1]}, r"in several: \[1\]"),
        ({"classes": []}, "classes need codes"),
        ({"colours": []}, "unknown key colours"),
    ],
)
def test_a_wrong_description_is_refused(tmp_path: Path, change: dict[str, object], message: str) -> None:
    path = tmp_path / "classes.json"
    path.write_text(json.dumps(CODING | change))
    with pytest.raises(CohortError, match=message):
        Coding.load(path)


def test_training_slices_of_small_images_hold_mostly_image(
    tmp_path: Path, coding: Coding, write_image: WriteImage
) -> None:
    write_image("a")
    with AnnotatedSlide.open(_prepared(tmp_path, coding), PAPER_INPUT) as slide:
        sampler = RandomPatchSampler(index_slides([slide], coding.classes), 2)
        spec = BatchSpec(96, patches=24, slices=1, scales=(0.5, 1.2))
        rects = [sampler.draw(np.random.default_rng(k), k, spec).view.slices[0] for k in range(50)]
        for rect in rects:
            slack, least = rect.width // EDGE_SHARE, -slide.grid.halo_px
            for start, length in ((rect.x, 240), (rect.y, 180)):
                low, high = sorted((0, length - rect.width))
                assert max(least, low - slack) <= start <= high + slack
        assert min(min(rect.x, rect.y) for rect in rects) < 0
        batch = BatchLoader(sampler, seed=1, stain_jitter=0, with_context=False).batch(0, spec)
    assert batch.context.shape == (24, 3, 0, 0)
    colours = batch.slices.permute(0, 2, 3, 1)
    assert (colours[batch.labels == 2].float().mean(0) - 80).abs().max() < 60


def _prepared(folder: Path, coding: Coding, mpp: tuple[float, float] = (0.93, 0.93)) -> SlideWithTruth:
    """The one image of the folder, prepared at a mpp that fits it."""
    listed = images_of_folders(folder / "images", folder / "masks", mpp, group="(.)")
    geometry = replace(PAPER_INPUT, mpp=1.4) if mpp[0] > 1 else PAPER_INPUT
    prepared = prepare_images({"train": listed}, folder / "out", coding, geometry)
    return prepared["train"][0].pair


def _write_csv(path: Path, rows: list[tuple[str, ...]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("image", "mask", "split", "patient", "uniform"))
        for name, *rest in rows:
            writer.writerow((f"images/{name}.png", f"masks/{name}.png", *rest))
