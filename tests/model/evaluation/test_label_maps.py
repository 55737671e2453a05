"""Label map files against truth files: TIFFs and ICIAR2018 XML."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray

from model.data.class_scheme import ClassScheme, NamedClass
from model.errors import CohortError, InputError
from model.evaluation.label_maps import (
    check_scheme,
    compare,
    compare_label_maps,
    described_classes,
    open_truth,
    scheme_of,
)
from wsi.errors import LabelTiffError
from wsi.geometry import Rect
from wsi.writing.label_tiff import LabelTiff

THREE = ClassScheme(
    tuple(NamedClass(name, None, (f"*{name}*",)) for name in ("normal", "benign", "in situ")),
    background="normal",
    unlabelled="background",
    order="file",
)
TWO = ClassScheme(THREE.classes[:2])
SERVED = {"class_names": {"1": "normal", "2": "benign", "3": "in situ"}, "mpp": {"downsample": 2}}


def tiff(path: Path, pixels: NDArray[np.generic], description: dict[str, Any] | None = None) -> Path:
    photometric = "rgb" if pixels.ndim == 3 else "minisblack"
    text = None if description is None else json.dumps(description)
    options = {"photometric": photometric, "tile": (256, 256), "compression": "deflate"}
    tifffile.imwrite(path, pixels, **options, description=text, metadata=None)
    return path


@pytest.fixture
def truth() -> NDArray[np.uint8]:
    """Three bands high, classes 0..3."""
    return np.random.default_rng(0).integers(0, 4, (1100, 300), dtype=np.uint8)


def test_every_pixel_with_truth_counts_once(truth: NDArray[np.uint8], tmp_path: Path) -> None:
    predicted = np.where(truth == 2, 3, truth)
    predicted[truth == 0] = 1
    predicted[:, 200:] = 0
    paths = tiff(tmp_path / "labels.tif", predicted), tiff(tmp_path / "truth.tif", truth)
    matrix = compare_label_maps(*paths, THREE)
    ones, twos, threes = (int((truth[:, :200] == value).sum()) for value in (1, 2, 3))
    np.testing.assert_array_equal(matrix.counts, [[ones, 0, 0], [0, 0, twos], [0, 0, threes]])
    assert matrix.missed.tolist() == [int((truth[:, 200:] == value).sum()) for value in (1, 2, 3)]


def test_progress_ends_at_one(truth: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tiff(tmp_path / "labels.tif", truth)
    told: list[float] = []
    with LabelTiff(path) as labels, open_truth(path, labels, THREE) as same:
        assert compare(labels, same, classes=3, progress=told.append).metrics().accuracy == 1
    assert told == sorted(told)
    assert told[-1] == 1


def test_files_of_two_sizes_are_refused(truth: NDArray[np.uint8], tmp_path: Path) -> None:
    labels = tiff(tmp_path / "labels.tif", truth[:, :200])
    with pytest.raises(InputError, match="at the label map's scale"):
        compare_label_maps(labels, tiff(tmp_path / "truth.tif", truth), THREE)


@pytest.mark.parametrize("content", [None, b"nonsense"])
def test_what_is_no_image_is_refused(content: bytes | None, truth: NDArray[np.uint8], tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "labels.tif").write_bytes(content)
    with pytest.raises(LabelTiffError, match=r"labels\.tif cannot be read .* Give labels\.tif"):
        compare_label_maps(tmp_path / "labels.tif", tiff(tmp_path / "truth.tif", truth), THREE)


def test_values_without_a_class_are_refused(truth: NDArray[np.uint8], tmp_path: Path) -> None:
    path = tiff(tmp_path / "labels.tif", truth)
    with pytest.raises(InputError, match=r"labels must be 0\.\.2"):
        compare_label_maps(path, path, TWO)


XML = """<?xml version="1.0"?>
<Annotations MicronsPerPixel="0.467"><Annotation Id="1"><Regions>
<Region Id="1" Text="Carcinoma in situ"><Attributes/><Vertices>
<Vertex X="100" Y="40"/><Vertex X="400" Y="40"/><Vertex X="400" Y="240"/><Vertex X="100" Y="240"/>
</Vertices></Region></Regions></Annotation></Annotations>"""


def test_an_xml_is_drawn_on_the_grid_of_the_label_map(tmp_path: Path) -> None:
    (tmp_path / "truth.xml").write_text(XML)
    # l0 px halved: columns 50..199 of 300, rows 20..119 of 700; everything else is normal.
    labels = np.ones((700, 300), np.uint8)
    labels[20:120, 50:200] = 3
    labels[30:40, 50:200] = 0
    path = tiff(tmp_path / "labels.tif", labels, SERVED)
    matrix = compare_label_maps(path, tmp_path / "truth.xml", THREE)
    assert np.diag(matrix.counts).sum() == matrix.counts.sum()
    assert np.diag(matrix.counts).tolist() == [700 * 300 - 100 * 150, 0, 90 * 150]
    assert matrix.missed.tolist() == [0, 0, 10 * 150]


def test_overviews_of_both_kinds_of_truth_show_the_same(tmp_path: Path) -> None:
    (tmp_path / "truth.xml").write_text(XML)
    drawn = np.ones((700, 300), np.uint8)
    drawn[20:120, 50:200] = 3
    path = tiff(tmp_path / "labels.tif", drawn, SERVED)
    with LabelTiff(path) as labels, open_truth(tmp_path / "truth.xml", labels, THREE) as annotated:
        np.testing.assert_array_equal(annotated.read(Rect(40, 10, 90, 90)), drawn[10:100, 40:130])
        small = annotated.overview(140)
        assert small.shape == (140, 60)
        assert (small != labels.overview(140)).mean() < 0.02


def test_an_xml_needs_a_label_map_that_knows_its_scale(truth: NDArray[np.uint8], tmp_path: Path) -> None:
    (tmp_path / "truth.xml").write_text(XML)
    labels = tiff(tmp_path / "labels.tif", truth)
    with pytest.raises(InputError, match=r"does not say its scale \(mpp\.downsample\)"):
        compare_label_maps(labels, tmp_path / "truth.xml", THREE)
    (tmp_path / "truth.xml").write_text("<Annotations")
    with pytest.raises(CohortError, match=r"truth\.xml cannot be read as XML"):
        compare_label_maps(labels, tmp_path / "truth.xml", THREE)


def test_classes_are_taken_from_the_description(truth: NDArray[np.uint8], tmp_path: Path) -> None:
    with LabelTiff(tiff(tmp_path / "labels.tif", truth, SERVED)) as labels:
        classes = described_classes(labels)
    assert [(entry.value, entry.name) for entry in classes] == [(1, "normal"), (2, "benign"), (3, "in situ")]
    assert [entry.colour for entry in classes] == [(0, 0, 0), (255, 0, 0), (0, 255, 0)]


@pytest.mark.parametrize("names", [None, {}, ["normal"], {"1": "normal", "3": "bad"}])
def test_classes_that_are_not_described_must_be_given(
    names: Any, truth: NDArray[np.uint8], tmp_path: Path
) -> None:
    with (
        LabelTiff(tiff(tmp_path / "labels.tif", truth, {"class_names": names})) as labels,
        pytest.raises(InputError, match=r"--weights CARD\.json"),
    ):
        described_classes(labels)


POLYGON = {
    "type": "Feature",
    "geometry": {"type": "Polygon", "coordinates": [[[0, 0], [200, 0], [200, 100], [0, 100], [0, 0]]]},
    "properties": {"classification": {"name": "Gland"}},
}


def test_annotations_of_own_classes_say_what_they_cover(tmp_path: Path) -> None:
    truth = tmp_path / "a.geojson"
    truth.write_text(json.dumps({"type": "FeatureCollection", "features": [POLYGON]}))
    labels = np.ones((100, 200), np.uint8)
    labels[:50, :50] = 2
    path = tiff(tmp_path / "labels.tif", labels, {**SERVED, "class_names": {"1": "stroma", "2": "gland"}})
    with LabelTiff(path) as predicted:
        scheme = scheme_of(described_classes(predicted))
    np.testing.assert_array_equal(compare_label_maps(path, truth, scheme).counts, [[0, 0], [2500, 2500]])


def test_classes_of_other_names_or_another_order_are_refused() -> None:
    classes = scheme_of(THREE.labels).labels
    check_scheme(THREE, classes)
    with pytest.raises(CohortError, match=r"names normal, benign; the label map has normal, benign, in situ"):
        check_scheme(TWO, classes)
    with pytest.raises(CohortError, match="in this order"):
        check_scheme(ClassScheme(THREE.classes[::-1]), classes)
