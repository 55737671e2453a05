"""Compare a whole-slide label map file, such as the service's labels.tif, with the truth of its slide."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wsi.geometry import Rect, Size, ceil_div
from wsi.palette import LabelClass
from wsi.writing.label_tiff import LabelTiff

from ..data.annotations import SHAPE_SUFFIXES, Annotations, read_annotations
from ..data.class_scheme import ClassScheme, NamedClass
from ..data.presets import BACH
from ..data.truth import AnnotationTruth
from ..errors import CohortError, InputError
from .metrics import ConfusionMatrix

PAPER_COLOURS = ((0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255))
"""ICIAR2018's colours of normal, benign, in situ, invasive; for classes without colours of their own."""

MORE_COLOURS = ((255, 200, 0), (0, 200, 200), (200, 0, 200), (150, 90, 40), (150, 150, 150))
"""Colours of further classes."""


class Truth(Protocol):
    """True class of every pixel of a label map."""

    def read(self, rect: Rect, /) -> NDArray[np.uint8]:
        """Read the values (H, W) uint8 of a rectangle in label px; 0 where there is no truth."""

    def overview(self, side_px: int, /) -> NDArray[np.uint8]:
        """Return a reduced map of the whole, at most `side_px` wide and high."""


def compare_label_maps(labels: Path, truth: Path, scheme: ClassScheme) -> ConfusionMatrix:
    """Compare a label map file with a truth (see `open_truth`), pixel by pixel at level 0.

    Raises:
        LabelTiffError: A file cannot be read as a label map.
        InputError: The files do not fit each other, or a value is no class of the scheme.
        CohortError: The truth is a file of annotations that cannot be read.
    """
    with LabelTiff(labels) as predicted, open_truth(truth, predicted, scheme) as true:
        return compare(predicted, true, classes=len(scheme.classes))


def compare(
    labels: LabelTiff, truth: Truth, *, classes: int, progress: Callable[[float], None] | None = None
) -> ConfusionMatrix:
    """Count every pixel of a label map against its truth; memory: one band of the map.

    `progress` is called with fractions up to 1.

    Raises:
        LabelTiffError: A file cannot be read.
        InputError: A value is above `classes`.
    """
    matrix = ConfusionMatrix(classes)
    for rect, band in labels.bands():
        matrix.feed(band, truth.read(rect))
        if progress is not None:
            progress(rect.bottom / labels.size.height)
    return matrix


@contextmanager
def open_truth(path: Path, labels: LabelTiff, scheme: ClassScheme) -> Iterator[Truth]:
    """Open the truth of a label map: a label TIFF of the same size, or annotations as GeoJSON or XML.

    Annotations are rasterised on the label map's grid. Their coordinates are level-0 px, so the label map
    must state its scale: those of the service do. What they say nothing of is what the scheme's `unlabelled`
    says, on glass as well.

    Raises:
        LabelTiffError: The TIFF cannot be read as a label map.
        CohortError: The annotations cannot be read, or name no class of the scheme.
        InputError: The files do not fit each other; the message says what to give.
    """
    if path.name.lower().endswith(SHAPE_SUFFIXES):
        annotations = read_annotations(path, scheme)
        yield _AnnotatedTruth(annotations, labels.size, _downsample(labels), scheme)
        return
    with LabelTiff(path) as truth:
        if truth.size != labels.size:
            raise InputError(
                f"{labels.name} is {labels.size.width} x {labels.size.height} px, {truth.name} "
                f"{truth.size.width} x {truth.size.height}; give the truth at the label map's scale."
            )
        yield truth


def described_classes(labels: LabelTiff) -> tuple[LabelClass, ...]:
    """Read the classes from a label map's description; colours are assigned, ICIAR2018's first.

    Raises:
        InputError: The description names no classes.
    """
    names = labels.description.get("class_names")
    if (
        not isinstance(names, dict)
        or sorted(names) != sorted(str(k + 1) for k in range(len(names)))
        or not names
    ):
        raise InputError(
            f"{labels.name} does not say what its values stand for; give the card of the model that made it: "
            "--weights CARD.json."
        )
    colours = PAPER_COLOURS + MORE_COLOURS
    values = range(1, len(names) + 1)
    return tuple(LabelClass(v, str(names[str(v)]), colours[(v - 1) % len(colours)]) for v in values)


def scheme_of(classes: Sequence[LabelClass]) -> ClassScheme:
    """Return how annotations name these classes where nobody says: ICIAR2018's rules for its four classes.

    Otherwise regions are called as the classes are, and what they do not cover has no truth.
    """
    names = [entry.name for entry in classes]
    if names == [entry.name for entry in BACH.classes]:
        return BACH
    return ClassScheme(tuple(NamedClass(entry.name, entry.colour) for entry in classes))


def check_scheme(scheme: ClassScheme, classes: Sequence[LabelClass]) -> None:
    """Check that a scheme has the classes of a label map, in the order of their values.

    Raises:
        CohortError: It has not.
    """
    named, known = ([entry.name for entry in own] for own in (scheme.classes, classes))
    if named != known:
        raise CohortError(
            f"--classes names {', '.join(named)}; the label map has {', '.join(known)}. Name the same "
            "ones, in this order."
        )


class _AnnotatedTruth:
    """Truth rasterised from annotations."""

    def __init__(self, annotations: Annotations, size: Size, downsample: int, scheme: ClassScheme) -> None:
        self._annotations, self._size, self._downsample = annotations, size, downsample
        self._scheme = scheme
        self._truth = AnnotationTruth(annotations, size, downsample, scheme)

    def read(self, rect: Rect) -> NDArray[np.uint8]:
        return self._truth.read(rect)

    def overview(self, side_px: int) -> NDArray[np.uint8]:
        step = ceil_div(max(self._size.width, self._size.height), side_px)
        small = Size(max(1, self._size.width // step), max(1, self._size.height // step))
        truth = AnnotationTruth(self._annotations, small, self._downsample * step, self._scheme)
        return truth.read(Rect.of(small))


def _downsample(labels: LabelTiff) -> int:
    scale = labels.description.get("mpp")
    downsample = scale.get("downsample") if isinstance(scale, dict) else None
    if not isinstance(downsample, int) or downsample < 1:
        raise InputError(
            f"{labels.name} does not say its scale (mpp.downsample), so annotations cannot be laid over it. "
            "Give the labels.tif that the service wrote, or the truth as a TIFF of its size."
        )
    return downsample
