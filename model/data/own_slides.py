"""Write the truths of annotated slides to disk, with the classes of a scheme."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from wsi.geometry import Rect
from wsi.grid import TILE_PX, Grid, InputGeometry, make_grid
from wsi.palette import Palette
from wsi.reading.slide import Slide, open_slide
from wsi.tissue import TissueMask, find_tissue
from wsi.writing.pyramid import write_label_pyramids
from wsi.writing.tile_codec import encode_tile

from ..errors import CohortError
from .annotated_folder import AnnotatedFile
from .annotation_notes import oddities
from .annotations import Annotations, read_annotations
from .class_scheme import UNLABELLED, ClassScheme
from .label_image import IMAGE_SUFFIXES, LabelImage
from .prepared import PreparedSlide, PreparedSlides, Progress, unheard
from .splits import SlideWithTruth, Split
from .truth import AnnotationTruth


class Truth(Protocol):
    """Class of every label px of a slide."""

    def read(self, rect: Rect, /) -> NDArray[np.uint8]:
        """Return the values (H, W) of a rectangle of label px."""


def examine(files: Mapping[str, AnnotatedFile], scheme: ClassScheme) -> Mapping[str, frozenset[int]]:
    """Read the annotations of all slides; return the class values that are drawn on each.

    A slide without a file, or with an image of codes, has none, but for the background where unlabelled
    tissue is that.

    Raises:
        CohortError: Files cannot be used; what is wrong with several is told at once.
    """
    background = {scheme.background_value or 0} if scheme.unlabelled == "background" else set()
    held, problems = {}, []
    for name, pair in files.items():
        path, values = pair.annotations, set(background)
        if path is not None and path.suffix.lower() not in IMAGE_SUFFIXES:
            try:
                values |= {region.value for region in read_annotations(path, scheme).regions}
            except CohortError as error:
                problems.append(str(error))
        held[name] = frozenset(values - {0})
    if problems:
        raise CohortError("\n".join(problems))
    return held


def prepare_slides(
    files: Mapping[str, AnnotatedFile],
    out: Path,
    split: Split,
    geometry: InputGeometry,
    scheme: ClassScheme,
    *,
    progress: Progress = unheard,
) -> PreparedSlides:
    """Write `out`/truth/<name>-truth.tif and -truth-overlay.tif for every slide of a split.

    All files are opened and checked before the first truth is written. Memory is that of a row of tiles, a
    tissue mask and the annotations of one slide. A slide without an annotation file is unlabelled all over.

    Raises:
        CohortError: Files do not fit together; what is wrong with several slides is told at once.
        WsiError: A slide cannot be read.
    """
    truths = out / "truth"
    works = {
        name: SlideWork(name, files[name], truths, geometry, scheme, is_training=name in split.train)
        for name in split.names
    }
    problems = [problem for work in works.values() if (problem := work.problem()) is not None]
    if problems:
        raise CohortError("\n".join(problems))
    truths.mkdir(parents=True, exist_ok=True)

    def prepared(names: Sequence[str]) -> tuple[PreparedSlide, ...]:
        return tuple(works[name].run(partial(progress, name)) for name in names)

    return PreparedSlides(prepared(split.train), prepared(split.validation), prepared(split.test))


@dataclass(frozen=True, slots=True)
class SlideWork:
    """Preparation of one slide."""

    name: str
    files: AnnotatedFile
    truths: Path
    geometry: InputGeometry
    scheme: ClassScheme
    is_training: bool

    def problem(self) -> str | None:
        """Return what is wrong with the files, as far as that costs little to find.

        Raises:
            WsiError: The slide cannot be read.
        """
        try:
            with ExitStack() as opened:
                slide = opened.enter_context(open_slide(self.files.slide))
                truth, _ = self._truth(slide, self._grid(slide), opened)
                if isinstance(truth, LabelImage):
                    truth.check(self.scheme)
        except CohortError as error:
            return str(error)
        return None

    def run(self, report: Callable[[float], None]) -> PreparedSlide:
        """Write the truth and its overlay; return the slide with its counts.

        `report` gets fractions up to 1.
        """
        started = time.perf_counter()
        with ExitStack() as opened:
            slide = opened.enter_context(open_slide(self.files.slide))
            grid = self._grid(slide)
            truth, notes = self._truth(slide, grid, opened)
            tissue = find_tissue(slide, grid, progress=lambda done: report(0.4 * done))
            path = self._write(truth, grid, tissue, lambda done: report(0.4 + 0.5 * done))
        pair = SlideWithTruth(self.files.slide, path)
        background = self.scheme.background_value
        prepared = PreparedSlide.of(
            pair, grid, tissue, self.scheme.labels, background=background, notes=notes, started=started
        )
        report(1.0)
        return prepared

    def _truth(self, slide: Slide, grid: Grid, opened: ExitStack) -> tuple[Truth, tuple[str, ...]]:
        """Return the truth of the annotation file, UNLABELLED where it is silent, and notes on its oddities.

        Raises:
            CohortError: The file cannot be used for this slide.
        """
        path = self.files.annotations
        if path is not None and path.suffix.lower() in IMAGE_SUFFIXES:
            return opened.enter_context(LabelImage(path, grid, self.scheme)), ()
        found = Annotations("", None, (), ()) if path is None else read_annotations(path, self.scheme)
        notes = () if path is None else oddities(found, slide.info, self.files.slide.name, self.scheme)
        size, n = grid.label_size, grid.downsample
        return AnnotationTruth(found, size, n, self.scheme, unannotated=UNLABELLED), notes

    def _grid(self, slide: Slide) -> Grid:
        """Return the label grid of the slide.

        Raises:
            CohortError: Its mpp is unknown, or off by over 10 % although it is trained on.
        """
        name, mpp = self.files.slide.name, slide.info.mpp
        if mpp is None:
            raise CohortError(f"{name}: pixel size unknown. Add resolution tags to the file.")
        grid = make_grid(slide.info.size, mpp.value, self.geometry)
        if self.is_training and not grid.exact:
            raise CohortError(
                f"{name} has {grid.label_mpp:g} um a label px, over 10 % off the "
                f"{self.geometry.mpp:g} asked for; training reads slides as they are. "
                "Leave it out, or give --mpp to fit the slides."
            )
        return grid

    def _write(self, truth: Truth, grid: Grid, tissue: TissueMask, report: Callable[[float], None]) -> Path:
        """Write truth and overlay; return the path of the truth."""
        path = self.truths / f"{self.name}-truth.tif"
        annotations = self.files.annotations
        write_label_pyramids(
            _TruthTiles(truth, grid, tissue, self.scheme),
            grid,
            Palette(self.scheme.labels),
            {
                "truth_of": self.files.slide.name,
                "annotations": None if annotations is None else annotations.name,
                "class_names": {str(entry.value): entry.name for entry in self.scheme.labels},
                "glass": self.scheme.glass,
            },
            labels=path,
            overlay=path.with_name(f"{self.name}-truth-overlay.tif"),
            progress=report,
        )
        return path


class _TruthTiles:
    """Tiles of a truth (`wsi.writing.pyramid.TileSource`), with what its scheme says of unlabelled px."""

    def __init__(self, truth: Truth, grid: Grid, tissue: TissueMask, scheme: ClassScheme) -> None:
        self._truth, self._grid, self._tissue = truth, grid, tissue
        background = scheme.background_value or 0
        self._on_tissue = background if scheme.unlabelled == "background" else 0
        self._on_glass = self._on_tissue if scheme.glass == "background" else 0

    def encoded_tile(self, column: int, row: int) -> bytes | None:
        """Return one tile of the truth as the bytes of a TIFF tile."""
        rect = Rect(column * TILE_PX, row * TILE_PX, TILE_PX, TILE_PX)
        labels = self._truth.read(rect)
        unlabelled = labels == UNLABELLED
        labels[unlabelled] = self._on_glass
        if self._on_tissue != self._on_glass:
            labels[unlabelled & self._tissue.crop(rect, self._grid)] = self._on_tissue
        return encode_tile(labels)
