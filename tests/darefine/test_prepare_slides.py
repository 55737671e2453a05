"""`darefine prepare slides` as a pathologist with a few slides would type it."""

import codecs
import json
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from click.testing import CliRunner, Result
from PIL import Image

from darefine.cli.main import main
from model.data.index import SlideIndex
from tests.model.data.asap import asap_xml, write_asap
from tests.model.data.image_scope import Outline, write_xml
from tests.model.data.qupath import feature, square, write_geojson

MPP = 0.467
CLASSES: dict[str, Any] = {
    "classes": [
        {"name": "stroma", "colour": "#00a0a0"},
        {"name": "tumour", "colour": "#c80000", "aliases": ["Tumor*"]},
        {"name": "necrosis"},
    ]
}
STROMA, TUMOUR, NECROSIS = square(0, 0, 1400, 600), square(100, 100, 200), square(400, 200, 100)


def write_slide(path: Path, seed: int = 0) -> None:
    """A slide of 1400 x 600 px: tissue of 700 x 500 px on the left, glass on the right."""
    pixels = np.full((600, 1400, 3), 246, np.uint8)
    noise = np.random.default_rng(seed).normal((200, 120, 170), 12, (500, 700, 3))
    pixels[50:550, 50:750] = noise.clip(0, 255)
    per_cm = 1e4 / MPP
    tags = {"tile": (256, 256), "resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, pixels, photometric="rgb", **tags)


def annotate(path: Path, *more: dict[str, Any]) -> None:
    write_geojson(path, [feature("Tumor: Positive", TUMOUR), feature("Stroma", STROMA), *more])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Five slides with QuPath exports; only slide c has necrosis."""
    slides = tmp_path / "slides"
    slides.mkdir()
    for seed, name in enumerate("abcde"):
        write_slide(slides / f"{name}.svs", seed)
        annotate(slides / f"{name}.geojson")
    annotate(slides / "c.geojson", feature("Necrosis", NECROSIS))
    write_classes(tmp_path)
    return slides


def write_classes(folder: Path, **members: Any) -> Path:
    path = folder / "classes.json"
    path.write_text(json.dumps({**CLASSES, **members}))
    return path


def prepare(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["prepare", "slides", *map(str, arguments)])


def prepared(folder: Path, *arguments: object) -> tuple[SlideIndex, str]:
    answer = prepare(folder, "--classes", folder.parent / "classes.json", *arguments)
    assert answer.exit_code == 0, answer.output
    return SlideIndex.load(folder / "darefine-index" / "index.json"), answer.output


def sets_of(index: SlideIndex) -> list[list[str]]:
    cohort = index.cohort
    return [[pair.slide.stem for pair in pairs] for pairs in (cohort.train, cohort.validation, cohort.test)]


def truth_of(folder: Path, name: str) -> np.ndarray:
    truth: np.ndarray = tifffile.imread(folder / "darefine-index" / "truth" / f"{name}-truth.tif", level=0)
    return truth


def test_five_slides_with_a_qupath_export(folder: Path) -> None:
    index, told = prepared(folder)
    assert [(entry.value, entry.name) for entry in index.classes] == [
        (1, "stroma"),
        (2, "tumour"),
        (3, "necrosis"),
    ]
    assert index.classes[1].colour == (200, 0, 0)
    assert list(map(len, sets_of(index))) == [3, 1, 1]
    assert "c" in sets_of(index)[0]  # whatever the seed says: the others lack necrosis
    expected = np.ones((300, 700), np.uint8)
    expected[50:150, 50:150] = 2
    expected[100:150, 200:250] = 3
    np.testing.assert_array_equal(truth_of(folder, "c"), expected)
    assert "never" not in told
    assert (index.source, index.train) == ("own slides", ())
    other, _ = prepared(folder, "--seed", 3)
    assert sets_of(other) != sets_of(index)


def test_all_formats_give_the_same_truth(folder: Path) -> None:
    for name in ("a", "b", "d"):
        (folder / f"{name}.geojson").unlink()
    annotate(folder / "c.geojson")
    write_xml(folder / "a.xml", [Outline("Tumor", TUMOUR), Outline("stroma", STROMA)], mpp=MPP)
    write_asap(folder / "b.xml", [("stroma", STROMA), ("Tumor", TUMOUR)])
    codes = np.ones((300, 700), np.uint8)
    codes[50:150, 50:150] = 2
    Image.fromarray(codes).save(folder / "d-labels.png")
    prepared(folder)
    for name in "abde":
        np.testing.assert_array_equal(truth_of(folder, name), truth_of(folder, "c"))


@pytest.mark.slow
def test_unlabelled_tissue_and_glass_are_what_the_classes_say(folder: Path) -> None:
    for name in "abcde":
        write_geojson(folder / f"{name}.geojson", [feature("Tumor", TUMOUR), feature("Ignore*", NECROSIS)])
    prepared(folder)
    assert np.bincount(truth_of(folder, "a").ravel()).tolist() == [200_000, 0, 10_000]
    write_classes(folder.parent, background="stroma", unlabelled="background")
    prepared(folder)
    truth = truth_of(folder, "a")
    assert (truth[100:150, 200:250] == 0).all()
    assert (truth[50:150, 50:150] == 2).all()
    assert (truth[160:260, 40:360] == 1).all()
    assert not truth[:, 600:].any()
    write_classes(folder.parent, background="stroma", unlabelled="background", glass="background")
    prepared(folder)
    assert np.bincount(truth_of(folder, "a").ravel()).tolist() == [2_500, 197_500, 10_000]


def test_a_class_that_is_not_trained_on_is_a_warning_with_its_name(folder: Path) -> None:
    _, told = prepared(folder, "--test", "c", "--validation", "a")
    assert "No slide to train on has necrosis: training goes on without" in told
    assert "network will never choose it" in told


def test_patients_stay_together_and_sets_may_be_stated(folder: Path) -> None:
    table = folder.parent / "patients.csv"
    table.write_text("slide;patient\r\na.svs;1\r\nb.svs;1\r\nc.svs;2\r\nd.svs;3\r\ne.svs;3\r\nq.svs;4\r\n")
    index, told = prepared(folder, "--patients", table)
    assert sorted(map(tuple, sets_of(index))) == [("a", "b"), ("c",), ("d", "e")]
    assert "names slides that are not there: q.svs" in told
    table.write_text("slide,set\na,train\nb,validation\nc,train\nd,train\ne,test\n")
    assert sets_of(prepared(folder, "--patients", table)[0]) == [["a", "c", "d"], ["b"], ["e"]]


def test_two_slides_do_and_slices_can_be_planned(folder: Path) -> None:
    for name in "bde":
        (folder / f"{name}.geojson").unlink()
    index, told = prepared(folder, "--slices", 2, 1, 0, "--mpp", 0.467)
    assert list(map(len, sets_of(index))) == [1, 1, 0]
    assert sets_of(index)[0] == ["c"]
    assert "Slides without annotations are passed over: b.svs, d.svs, e.svs" in told
    assert [len(index.train), len(index.validation)] == [2, 1]


def in_lesions(vertices: Sequence[tuple[float, float]]) -> list[tuple[str, Sequence[tuple[float, float]]]]:
    return [("_0", vertices), ("_1", square(500, 300, 100)), ("_2", square(150, 150, 50))]


def test_camelyon16_as_it_is_published(tmp_path: Path) -> None:
    """Folders, names and groups of the data set; normal slides have no XML."""
    names = {"normal": ("normal_001", "normal_002"), "tumor": ("tumor_001", "tumor_002", "tumor_003")}
    stems = list(chain.from_iterable(names.values()))
    for kind, of_kind in names.items():
        (tmp_path / "training" / kind).mkdir(parents=True)
        for seed, stem in enumerate(of_kind):
            write_slide(tmp_path / "training" / kind / f"{stem}.tif", seed)
    lesions = tmp_path / "training" / "lesion_annotations"
    lesions.mkdir()
    write_asap(lesions / "tumor_001.xml", in_lesions(TUMOUR))
    write_asap(lesions / "tumor_002.xml", [("Tumor", TUMOUR), ("Exclusion", square(150, 150, 50))])
    (lesions / "tumor_003.xml").write_bytes(
        codecs.BOM_UTF8 + asap_xml(in_lesions(TUMOUR)).replace("\n", "\r\n").encode()
    )
    folders = [tmp_path / "training" / kind for kind in names]
    options = ("--classes", "camelyon16", "--annotations", lesions, "--bare", "unlabelled")
    answer = prepare(*folders, *options, "--out", tmp_path / "out")

    assert answer.exit_code == 0, answer.output
    index = SlideIndex.load(tmp_path / "out" / "index.json")
    assert [(entry.value, entry.name) for entry in index.classes] == [(1, "normal"), (2, "tumour")]
    assert index.source == "camelyon16"
    assert sorted(chain.from_iterable(sets_of(index))) == sorted(stems)
    for stem in stems:
        truth = tifffile.imread(tmp_path / "out" / "truth" / f"{stem}-truth.tif", level=0)
        assert truth[200, 300] == 1, stem  # tissue
        assert truth[150, 650] == 0, stem  # glass
        assert truth[60, 60] == (2 if "tumor" in stem else 1)
        assert truth[85, 85] == 1, stem  # cut out of the lesion
        assert truth[170, 270] == (2 if stem in {"tumor_001", "tumor_003"} else 1)


def swap(path: Path, old: str, new: str) -> None:
    path.write_text(path.read_text().replace(old, new))


def label_image(slides: Path, pixels: np.ndarray) -> None:
    (slides / "b.geojson").unlink()
    Image.fromarray(pixels).save(slides / "b-labels.png")


MISTAKES: dict[str, tuple[Callable[[Path], object], str]] = {
    "typo": (
        lambda slides: swap(slides / "b.geojson", "Stroma", "Strooma"),
        'b.geojson: region 2 says "Strooma", which names no class. Did you mean "stroma"?',
    ),
    "unnamed class": (
        lambda slides: annotate(slides / "b.geojson", feature("Fat", NECROSIS)),
        'region 3 says "Fat", which names no class',
    ),
    "no class": (
        lambda slides: annotate(slides / "b.geojson", feature(None, NECROSIS)),
        "region 3 says nothing, which names no class",
    ),
    "no slide": (
        lambda slides: annotate(slides / "slide_f.geojson"),
        "there is no slide for slide_f.geojson",
    ),
    "wrong name": (
        lambda slides: (slides / "b.geojson").rename(slides / "B.geojson"),
        "B.geojson (does it belong to b.svs?)",
    ),
    "two files": (
        lambda slides: write_asap(slides / "b.xml", []),
        "b is the name of b.geojson, b.xml",
    ),
    "empty": (
        lambda slides: (slides / "b.geojson").write_bytes(b""),
        "b.geojson cannot be read as GeoJSON (it is empty)",
    ),
    "empty slide": (lambda slides: (slides / "b.svs").write_bytes(b""), "b.svs"),
    "another slide": (
        lambda slides: write_geojson(slides / "b.geojson", [feature("Tumor", square(9000, 0, 10))]),
        "No region of b.geojson lies on b.svs (1400 x 600 px)",
    ),
    "wrong proportions": (
        lambda slides: label_image(slides, np.ones((50, 50), np.uint8)),
        "b-labels.png has 50 x 50 px, the slide 1400 x 600",
    ),
    "unknown code": (
        lambda slides: label_image(slides, np.full((60, 140), 9, np.uint8)),
        "b-labels.png has the codes 9 (8400 px), which are no class. There are 1 stroma, 2 tumour,",
    ),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_mistakes_are_told_in_one_line_before_anything_is_written(mistake: str, folder: Path) -> None:
    make, told = MISTAKES[mistake]
    make(folder)
    answer = prepare(folder, "--classes", folder.parent / "classes.json")
    assert answer.exit_code == 1
    assert isinstance(answer.exception, SystemExit)
    assert told in answer.output
    assert answer.output.strip().count("\n") == 0
    assert not (folder / "darefine-index").exists()


def test_what_is_odd_is_noted_and_the_work_goes_on(folder: Path) -> None:
    bow = [(100, 300), (200, 400), (200, 300), (100, 400)]
    annotate(
        folder / "b.geojson",
        feature("Tumor", bow),
        feature("Tumor", square(1300, 500, 300)),
        feature("Tumor", square(5000, 500, 300)),
        feature("Tumor", TUMOUR[:2]),
        feature("Tumor", TUMOUR, objectType="cell"),
    )
    _, told = prepared(folder)
    for text in (
        "b.geojson: regions 6 have fewer than three vertices and are left out",
        "b.geojson: regions 5 lie off the slide and are left out",
        "b.geojson: regions 4 stick out of the slide and are cut at its edge",
        "b.geojson: regions 3 cross themselves and are mended",
        "b.geojson: 1 cells or other detections are passed over",
    ):
        assert text in told


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--validation", "q"), "q: no such slide with annotations; there are a, b, c, d, e"),
        (("--validation", "0.9"), "hold out some, not all"),
        (("--mpp", 0.3), "over 10 % off"),
    ],
)
def test_options_that_cannot_be_are_told(folder: Path, arguments: tuple[object, ...], told: str) -> None:
    answer = prepare(folder, "--classes", folder.parent / "classes.json", *arguments)
    assert answer.exit_code == 1
    assert told in answer.output


def test_one_slide_is_too_few(folder: Path) -> None:
    for name in "abde":
        (folder / f"{name}.geojson").unlink()
    answer = prepare(folder, "--classes", folder.parent / "classes.json")
    assert "there is one slide with annotations; it takes one to learn from and another" in answer.output
