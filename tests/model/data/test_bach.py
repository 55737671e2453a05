"""From slides with XML to truths and an index, through files."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openslide
import pytest
import tifffile

from model.data.annotated_slide import AnnotatedSlide
from model.data.bach import BACH_CLASSES, annotated_slides, prepare_annotated
from model.data.index import SlideIndex
from model.data.slices import PAPER_INPUT, Quota
from model.data.splits import SlideWithTruth, Split
from model.errors import CohortError
from wsi.errors import SlideUnreadableError
from wsi.geometry import Rect
from wsi.phantom import PhantomFiles, write_phantom

from .image_scope import Outline, traced, write_xml

WriteSlide = Callable[..., SlideWithTruth]
COARSE = 8  # label px of a vertex's grid
SQUARE = [(100, 100), (300, 100), (300, 300), (100, 300)]


@pytest.fixture(scope="module")
def phantom(tmp_path_factory: pytest.TempPathFactory) -> PhantomFiles:
    """768 label px square, with all four classes."""
    out = tmp_path_factory.mktemp("phantom") / "A02.tif"
    return write_phantom(out, size_px=1536, seed=2, territory_um=260, tissue_fraction=0.6)


def outlines_of(truth: np.ndarray) -> list[Outline]:
    """Territories of the phantom as annotators would have outlined them; normal is what they left."""
    coarse = truth[COARSE // 2 :: COARSE, COARSE // 2 :: COARSE]
    words = {4: "Carcinoma invasive", 2: "BENIGN", 3: "In situ carcinoma"}
    return [
        Outline(text, traced(coarse == value, COARSE * 2), as_text=value == 2)
        for value, text in words.items()
    ]


@pytest.fixture
def folder(phantom: PhantomFiles, tmp_path: Path) -> Path:
    """A02, A10 and A05 alike, as ICIAR2018 has them, with what else lies in that folder."""
    outlines = outlines_of(tifffile.imread(phantom.truth, level=0))
    for name in ("A02", "A10", "A05"):
        shutil.copy(phantom.slide, tmp_path / f"{name}.tif")
        write_xml(tmp_path / f"{name}.xml", outlines)
    for name in ("01.tif", "A05.png", "._A05.xml", "notes.txt"):
        (tmp_path / name).write_text("no matter")
    return tmp_path


SPLIT = Split(("A02",), ("A10",), ("A05",))


def test_the_truth_is_what_was_outlined(folder: Path, phantom: PhantomFiles) -> None:
    prepared = prepare_annotated(folder, folder / "index", SPLIT, PAPER_INPUT)
    (slide,) = prepared.train
    truth, expected = tifffile.imread(slide.pair.truth, level=0), tifffile.imread(phantom.truth, level=0)
    assert set(np.unique(expected)) == {0, 1, 2, 3, 4}
    expected[expected == 0] = 1
    blocks = expected.reshape(768 // COARSE, COARSE, 768 // COARSE, COARSE)
    inner = np.kron(blocks.min(axis=(1, 3)) == blocks.max(axis=(1, 3)), np.ones((COARSE, COARSE), bool))
    # Outlines are drawn on a grid of 8 label px: only there, along borders, may the two differ.
    np.testing.assert_array_equal(truth[inner], expected[inner])
    assert inner.mean() > 0.8
    assert (truth == expected).mean() > 0.95
    assert slide.pixels == tuple(np.bincount(truth.ravel(), minlength=5).tolist())
    assert slide.notes == ()
    with openslide.OpenSlide(slide.pair.truth.with_name("A02-truth-overlay.tif")) as overlay:
        assert overlay.dimensions == (768, 768)
        assert float(overlay.properties["openslide.mpp-x"]) == pytest.approx(0.934)
        colours = {
            colour for _, colour in overlay.read_region((0, 0), 0, (768, 768)).convert("RGB").getcolors()
        }
    assert colours == {entry.colour for entry in BACH_CLASSES}


def test_glass_can_be_left_without_truth(folder: Path, phantom: PhantomFiles) -> None:
    ignored = prepare_annotated(folder, folder / "ignore", SPLIT, PAPER_INPUT, glass="ignore").train[0]
    counted = prepare_annotated(folder, folder / "normal", SPLIT, PAPER_INPUT).train[0]
    truth, with_glass = (tifffile.imread(slide.pair.truth, level=0) for slide in (ignored, counted))
    glass = tifffile.imread(phantom.truth, level=0) == 0
    assert glass[truth == 0].mean() > 0.99
    assert (truth[glass] == 0).mean() > 0.3  # the mask keeps a rim of glass around tissue
    np.testing.assert_array_equal(truth[truth > 0], with_glass[truth > 0])
    assert (with_glass[truth == 0] == 1).all()


def test_the_index_leads_training_to_the_right_pixels(folder: Path) -> None:
    prepared = prepare_annotated(folder, folder / "index", SPLIT, PAPER_INPUT)
    quotas = {"train": Quota(3, 2), "test": Quota(9, None)}
    prepared.index("bach", BACH_CLASSES, PAPER_INPUT, quotas, seed=1).save(folder / "index" / "index.json")

    index = SlideIndex.load(folder / "index" / "index.json")

    assert [len(slices) for slices in (index.train, index.validation, index.test)] == [2, 0, 4]
    with AnnotatedSlide.open(index.cohort.test[0], index.input) as slide:
        for planned in index.test:
            truth = slide.read_truth(planned.rect)
            expected = np.bincount(truth.ravel(), minlength=5) / truth.size
            np.testing.assert_allclose(planned.shares, expected, atol=1e-6)


def test_the_same_files_give_the_same_bytes(folder: Path) -> None:
    first, again = (
        prepare_annotated(folder, folder / name, SPLIT, PAPER_INPUT).test[0] for name in ("one", "two")
    )
    assert first.pair.truth.read_bytes() == again.pair.truth.read_bytes()
    assert list((folder / "one" / "truth").glob(".*")) == []


def test_slides_without_annotations_are_passed_over(folder: Path) -> None:
    assert list(annotated_slides(folder)) == ["A02", "A05", "A10"]
    assert annotated_slides(folder)["A05"] == (folder / "A05.tif", folder / "A05.xml")


def test_all_missing_files_are_named_at_once(folder: Path) -> None:
    (folder / "A02.xml").unlink()
    (folder / "A10.tif").unlink()
    with pytest.raises(CohortError, match=r"lacks A02\.xml, A05b\.svs, A05b\.xml, the slide of A10\.xml\."):
        annotated_slides(folder, ("A02", "A05", "A05b", "A10"))


def test_folders_that_are_of_no_use_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(CohortError, match="is no folder"):
        annotated_slides(folder / "A02.xml")
    (tmp_path / "empty").mkdir()
    with pytest.raises(CohortError, match=r"has no \.xml"):
        annotated_slides(tmp_path / "empty")
    shutil.copy(folder / "A05.tif", folder / "A05.ndpi")
    with pytest.raises(CohortError, match=r"A05 is the name of A05\.ndpi, A05\.tif"):
        annotated_slides(folder)


def prepared_notes(tmp_path: Path) -> tuple[str, ...]:
    return prepare_annotated(tmp_path, tmp_path / "index", Split(("a",), (), ()), PAPER_INPUT).train[0].notes


def test_odd_annotations_are_noted(write_slide: WriteSlide, tmp_path: Path) -> None:
    write_slide("a", 0)
    outlines = [
        Outline("benign", SQUARE),
        Outline("invasive", SQUARE[:2]),
        Outline("invasive", [(600, 600), (900, 600), (600, 900)]),
        Outline("invasive", [(6000, 600), (9000, 600), (6000, 900)]),
    ]
    write_xml(tmp_path / "a.xml", outlines, mpp=0.25)
    notes = prepared_notes(tmp_path)
    assert [note.split(": ")[1].split(",")[0] for note in notes] == [
        "regions 2 have fewer than three vertices and are left out",
        "regions 4 lie off the slide and are left out",
        "regions 3 stick out of the slide and are cut at its edge",
        "it says 0.25 um/px",
    ]


def test_empty_annotations_make_everything_normal(write_slide: WriteSlide, tmp_path: Path) -> None:
    write_slide("a", 0)
    write_xml(tmp_path / "a.xml", [], mpp=0.934)
    assert prepared_notes(tmp_path) == ("a.xml: no regions: all of it counts as normal",)
    assert (tifffile.imread(tmp_path / "index" / "truth" / "a-truth.tif", level=0) == 1).all()


def test_annotations_of_another_slide_are_refused(write_slide: WriteSlide, tmp_path: Path) -> None:
    write_slide("a", 0)
    write_xml(tmp_path / "a.xml", [Outline("benign", [(x + 5000, y) for x, y in SQUARE])])
    with pytest.raises(CohortError, match=r"No region of a\.xml lies on a\.tif"):
        prepared_notes(tmp_path)


def test_slides_to_train_on_must_have_the_scale(write_slide: WriteSlide, tmp_path: Path) -> None:
    write_slide("a", 0)
    write_xml(tmp_path / "a.xml", [Outline("benign", SQUARE)], mpp=0.934)
    coarser = PAPER_INPUT.__class__(mpp=1.2, context_ratio=5, slices_per_side=5, halo_px=64)
    with pytest.raises(CohortError, match=r"a\.tif has 0\.934 um a label px.*--mpp"):
        prepare_annotated(tmp_path, tmp_path, Split(("a",), (), ()), coarser)
    assert prepare_annotated(tmp_path, tmp_path, Split((), ("a",), ()), coarser).validation[0].mpp == 0.934


def test_slides_that_cannot_be_used_are_named(write_slide: WriteSlide, tmp_path: Path) -> None:
    slide = write_slide("a", 0).slide
    write_xml(tmp_path / "a.xml", [Outline("benign", SQUARE)])
    tifffile.imwrite(slide, np.zeros((600, 600, 3), np.uint8), photometric="rgb", tile=(256, 256))
    with pytest.raises(CohortError, match=r"a\.tif: pixel size unknown"):
        prepared_notes(tmp_path)
    slide.write_text("no slide")
    with pytest.raises(SlideUnreadableError, match=r"a\.tif"):
        prepared_notes(tmp_path)


def test_squares_are_rasterised_to_the_pixel(write_slide: WriteSlide, tmp_path: Path) -> None:
    write_slide("a", 0)
    write_xml(tmp_path / "a.xml", [Outline("in situ", SQUARE)], mpp=0.934)
    prepared_notes(tmp_path)
    truth = tifffile.imread(tmp_path / "index" / "truth" / "a-truth.tif", level=0)
    where = Rect(100, 100, 200, 200)
    assert (truth[where.y : where.bottom, where.x : where.right] == 3).all()
    assert np.count_nonzero(truth == 3) == 200 * 200


def test_nothing_is_written_when_a_later_slide_is_wrong(folder: Path) -> None:
    write_xml(folder / "A05.xml", [Outline("tumour", SQUARE)])
    with pytest.raises(CohortError, match=r'A05\.xml: region 1 says "tumour"'):
        prepare_annotated(folder, folder / "index", SPLIT, PAPER_INPUT)
    assert not (folder / "index").exists()
