"""Read and write the index of a data set: slides, truths and planned slices.

`darefine prepare` writes it, training and evaluation read it. It holds no pixels: slices are read from the
slides when they are wanted. On disk it is one JSON beside the folder of truths.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter

from wsi.atomic import write_atomically
from wsi.geometry import Rect
from wsi.grid import InputGeometry
from wsi.palette import LabelClass

from ..card import parse_strictly, with_present_names
from ..errors import CardError, CohortError
from .splits import Cohort, SlideWithTruth

FORMAT = 1

_StoredRect = tuple[int, int, int, int]
"""A Rect on disk: x, y, width, height."""

_Row = tuple[int, _StoredRect, _StoredRect, tuple[float, ...]]
"""A PlannedSlice on disk: slide, patch, slice, and the shares."""

_AGAIN = "Run `darefine prepare` again."


@dataclass(frozen=True, slots=True)
class PlannedSlice:
    """Slice to read, and the patch whose context it is read with."""

    slide: int
    """Index into the set's slides of the cohort."""
    patch: Rect
    """Label px: the patch's core (`Grid.patch_core`), without halo; may stick out of the slide."""
    rect: Rect
    """Label px: the slice, inside the patch."""
    shares: tuple[float, ...]
    """Share of each value 0..K of the truth in the slice."""


@dataclass(frozen=True, slots=True)
class DataSet:
    """What a published data set is: for the cards of networks trained on it."""

    name: str
    tissue: str
    """Organ, kind of sample and stain, such as "colorectal mucosa, biopsies, H&E"."""
    attribution: str
    """Citation, source and licence; the card repeats it."""
    remarks: str = ""
    """What a user of a network trained on it has to know: noise of the truth, a scale that is a guess."""


@dataclass(frozen=True, slots=True)
class SlideIndex:
    """Cohort ready for training and evaluation: slides with truth, and the slices planned on them.

    Raises:
        CohortError: A slice does not fit the slides or the classes.
    """

    classes: tuple[LabelClass, ...]
    input: InputGeometry
    """Geometry it was planned for; a model with another `mpp` has another grid and needs other truths."""
    cohort: Cohort
    train: tuple[PlannedSlice, ...]
    """Slices to train on; empty: patches are drawn at random."""
    validation: tuple[PlannedSlice, ...]
    """Slices to validate on; empty: all patches of the slides."""
    test: tuple[PlannedSlice, ...]
    """Slices to test on; empty: all patches of the slides."""
    source: str
    """Origin of the truth: "bach", "phantom", or the name of a data set."""
    data_set: DataSet | None = None

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            slides = len(getattr(self.cohort, name))
            for planned in getattr(self, name):
                if not 0 <= planned.slide < slides or len(planned.shares) != len(self.classes) + 1:
                    raise CohortError(
                        f"{planned} of the {name} set does not fit {slides} slides and "
                        f"{len(self.classes)} classes. {_AGAIN}"
                    )

    def save(self, path: Path) -> None:
        """Write the index: whole, or not at all. Slides and truths must exist.

        Paths are relative to the index's folder for what lies below it or below the folder it is in, so both
        may be moved together; else absolute. The size of each slide and the SHA-256 of each truth are noted,
        for `load` to compare.
        """
        stored = _StoredIndex(
            format=FORMAT,
            source=self.source,
            classes=self.classes,
            input=self.input,
            train=_stored_set(self.cohort.train, self.train, path.parent),
            validation=_stored_set(self.cohort.validation, self.validation, path.parent),
            test=_stored_set(self.cohort.test, self.test, path.parent),
            data_set=self.data_set,
        )
        write_atomically(path, json.dumps(dataclasses.asdict(stored), separators=(",", ":")).encode())

    @classmethod
    def load(cls, path: Path) -> "SlideIndex":
        """Read the index that `save` wrote.

        Raises:
            CohortError: It is no index, or a file is missing or has changed since; the message says which.
        """
        stored = _read(path)
        cohort = Cohort(
            *(_pairs(part.slides, path) for part in (stored.train, stored.validation, stored.test))
        )
        train, validation, test = (
            tuple(
                PlannedSlice(slide, Rect(*patch), Rect(*rect), shares) for slide, patch, rect, shares in part
            )
            for part in (stored.train.slices, stored.validation.slices, stored.test.slices)
        )
        return cls(
            classes=stored.classes,
            input=stored.input,
            cohort=cohort,
            train=train,
            validation=validation,
            test=test,
            source=stored.source,
            data_set=stored.data_set,
        )


@dataclass(frozen=True, slots=True)
class _StoredPair:
    slide: str
    slide_bytes: int
    truth: str
    truth_sha256: str
    group: str = ""


@dataclass(frozen=True, slots=True)
class _StoredSet:
    slides: tuple[_StoredPair, ...]
    slices: tuple[_Row, ...]


@dataclass(frozen=True, slots=True)
class _StoredIndex:
    format: int
    source: str
    classes: tuple[LabelClass, ...]
    input: InputGeometry
    train: _StoredSet
    validation: _StoredSet
    test: _StoredSet
    data_set: DataSet | None = None


_STORED = TypeAdapter(_StoredIndex)


def _stored_set(pairs: Sequence[SlideWithTruth], slices: Sequence[PlannedSlice], folder: Path) -> _StoredSet:
    stored = [
        _StoredPair(
            slide=_relative(pair.slide, folder),
            slide_bytes=_bytes(pair.slide),
            truth=_relative(pair.truth, folder),
            truth_sha256=_sha256(pair.truth),
            group=pair.group,
        )
        for pair in pairs
    ]
    rows = [
        (planned.slide, _stored_rect(planned.patch), _stored_rect(planned.rect), planned.shares)
        for planned in slices
    ]
    return _StoredSet(tuple(stored), tuple(rows))


def _stored_rect(rect: Rect) -> _StoredRect:
    return rect.x, rect.y, rect.width, rect.height


def _relative(path: Path, folder: Path) -> str:
    path, folder = _absolute(path), _absolute(folder)
    near = path.is_relative_to(folder.parent)
    return Path(os.path.relpath(path, folder)).as_posix() if near else str(path)


def _absolute(path: Path) -> Path:
    """Return a path without `..`; links are kept, so that a folder of links to slides stays what it is."""
    return Path(os.path.abspath(path))  # noqa: PTH100  (Path.resolve follows links, Path.absolute keeps `..`)


def _read(path: Path) -> _StoredIndex:
    """Read and check the JSON of an index.

    Raises:
        CohortError: It cannot be read or is no index of this version.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CohortError(
            f"cannot read the index {path}: {error.strerror}. `darefine prepare` makes one."
        ) from error
    except ValueError as error:
        raise CohortError(f"{path} is not JSON ({error}). {_AGAIN}") from error
    if not isinstance(data, dict) or data.get("format") != FORMAT:
        raise CohortError(f"{path} is no index of this version. {_AGAIN}")
    try:
        return parse_strictly(_STORED, with_present_names(data), "index")
    except CardError as error:
        raise CohortError(f"{path}: {error}. {_AGAIN}") from error


def _pairs(stored: Sequence[_StoredPair], index: Path) -> tuple[SlideWithTruth, ...]:
    """Return slides and truths, checked to be there and as they were.

    Raises:
        CohortError: A file is missing or has changed.
    """
    pairs = []
    for entry in stored:
        pair = SlideWithTruth(
            _absolute(index.parent / entry.slide), _absolute(index.parent / entry.truth), entry.group
        )
        for file in (pair.slide, pair.truth):
            if not file.exists():
                raise CohortError(
                    f"{file}, named by {index.name}, is not there. Put it back, "
                    "or run `darefine prepare` again."
                )
        if _bytes(pair.slide) != entry.slide_bytes:
            raise CohortError(f"{pair.slide} has changed since {index.name} was made. {_AGAIN}")
        if _sha256(pair.truth) != entry.truth_sha256:
            raise CohortError(f"{pair.truth} has changed since {index.name} was made. {_AGAIN}")
        pairs.append(pair)
    return tuple(pairs)


def _bytes(path: Path) -> int:
    """Return the size in bytes of a slide file, or of all files in a slide's folder."""
    files = path.rglob("*") if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files if file.is_file())


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
