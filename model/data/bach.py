"""Prepare ICIAR2018 (BACH) part B, or any other slides with ImageScope XML: write their truths to disk."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

from wsi.geometry import Rect
from wsi.grid import TILE_PX, Grid, InputGeometry, make_grid
from wsi.palette import LabelClass, Palette
from wsi.reading.slide import Slide, open_slide
from wsi.tissue import TissueMask, find_tissue
from wsi.writing.pyramid import write_label_pyramids
from wsi.writing.tile_codec import encode_tile

from ..errors import CohortError
from .annotations import NORMAL, Annotations, AnnotationTruth, Region, read_annotations
from .prepared import PreparedSlide, PreparedSlides
from .splits import SlideWithTruth, Split

BACH_CLASSES = (
    LabelClass(1, "normal", (0, 0, 0)),
    LabelClass(2, "benign", (255, 0, 0)),
    LabelClass(3, "in situ", (0, 255, 0)),
    LabelClass(4, "invasive", (0, 0, 255)),
)
"""Classes in the challenge's colours. A value is the challenge's number plus one: 0 means "not analysed"."""

Glass = Literal["normal", "ignore"]
"""Truth of glass outside the tissue: class normal, as in the paper, or no truth at all."""

NO_SLIDES = frozenset({".xml", ".png", ".jpg", ".jpeg", ".bmp", ".json", ".geojson", ".csv", ".txt"})
"""Suffixes of other files that may lie beside a slide under its name: annotations, thumbnails, notes."""

MPP_TOLERANCE = 0.10
"""Relative difference between the mpp of XML and slide above which a note is made."""

Progress = Callable[[str, float], None]
"""Callback that gets a slide's name and the fraction of it that is done, 0..1."""


def unheard(_name: str, _done: float) -> None:
    """Ignore progress."""


def annotated_slides(folder: Path, names: Sequence[str] | None = None) -> Mapping[str, tuple[Path, Path]]:
    """Find slides and their XML; return both paths by name (the file name without its suffix).

    Looks for `names`, or for every XML in `folder`. Slides without XML are passed over unless named.

    Raises:
        CohortError: The folder is none or has no XML, files are missing (all are listed), or a name has
            several slides.
    """
    if not folder.is_dir():
        raise CohortError(f"{folder} is no folder. Name the one with A01.svs, A01.xml, ...")
    files = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    xmls = {path.stem: path for path in files if path.suffix.lower() == ".xml"}
    if not xmls:
        raise CohortError(
            f"{folder} has no .xml. Name the folder that has the annotated slides (A01.svs, A01.xml, ...)."
        )
    slides = {name: _slides_called(name, files) for name in names or xmls}
    missing = [f"{name}.xml" for name in slides if name not in xmls]
    missing += [
        f"the slide of {name}.xml" if name in xmls else f"{name}.svs" for name in slides if not slides[name]
    ]
    if missing:
        raise CohortError(
            f"{folder} lacks {', '.join(sorted(missing))}. Put them there, or make a split of the slides "
            "that are."
        )
    for name, found in slides.items():
        if len(found) > 1:
            raise CohortError(
                f"{name} is the name of {', '.join(p.name for p in found)}. Leave the slide there alone."
            )
    return {name: (found[0], xmls[name]) for name, found in slides.items()}


def _slides_called(name: str, files: Sequence[Path]) -> list[Path]:
    """Return the slide files of a name.

    A folder counts (DICOM) only where there is no file (MIRAX has both).
    """
    alike = [path for path in files if path.stem == name and path.suffix.lower() not in NO_SLIDES]
    return [path for path in alike if path.is_file()] or alike


def prepare_annotated(
    folder: Path,
    out: Path,
    split: Split,
    geometry: InputGeometry,
    *,
    glass: Glass = "normal",
    progress: Progress = unheard,
) -> PreparedSlides:
    """Write `out`/truth/<name>-truth.tif and -truth-overlay.tif for every slide of a split.

    All files are opened and checked before the first truth is written. Memory is that of a row of tiles, a
    tissue mask and the annotations of one slide.

    Raises:
        CohortError: Files are missing or do not fit together.
        WsiError: A slide cannot be read.
    """
    truths = out / "truth"
    works = {
        name: _Work(slide, xml, truths, geometry, glass, is_training=name in split.train)
        for name, (slide, xml) in annotated_slides(folder, split.names).items()
    }
    for work in works.values():
        work.check()
    truths.mkdir(parents=True, exist_ok=True)

    def prepared(names: Sequence[str]) -> tuple[PreparedSlide, ...]:
        return tuple(works[name].run(partial(progress, name)) for name in names)

    return PreparedSlides(prepared(split.train), prepared(split.validation), prepared(split.test))


@dataclass(frozen=True, slots=True)
class _Work:
    """Preparation of one slide."""

    slide: Path
    xml: Path
    truths: Path
    geometry: InputGeometry
    glass: Glass
    is_training: bool

    def check(self) -> None:
        """Raise early the errors of `run` that cost little to find."""
        annotations = read_annotations(self.xml)
        with open_slide(self.slide) as slide:
            self._grid(slide)
            _notes(annotations, slide, self.slide.name)

    def run(self, report: Callable[[float], None]) -> PreparedSlide:
        """Write the truth and its overlay; return the slide with its counts.

        `report` gets fractions up to 1.
        """
        started = time.perf_counter()
        annotations = read_annotations(self.xml)
        with open_slide(self.slide) as slide:
            grid = self._grid(slide)
            notes = _notes(annotations, slide, self.slide.name)
            tissue = find_tissue(slide, grid, progress=lambda done: report(0.4 * done))
        truth = self._write(annotations, grid, tissue, lambda done: report(0.4 + 0.5 * done))
        pair = SlideWithTruth(self.slide, truth)
        prepared = PreparedSlide.of(pair, grid, tissue, BACH_CLASSES, notes=notes, started=started)
        report(1.0)
        return prepared

    def _grid(self, slide: Slide) -> Grid:
        """Return the label grid of the slide.

        Raises:
            CohortError: Its mpp is unknown, or off by over 10 % although it is trained on.
        """
        mpp = slide.info.mpp
        if mpp is None:
            raise CohortError(f"{self.slide.name}: pixel size unknown. Add resolution tags to the file.")
        grid = make_grid(slide.info.size, mpp.value, self.geometry)
        if self.is_training and not grid.exact:
            raise CohortError(
                f"{self.slide.name} has {grid.label_mpp:g} um a label px, over 10 % off the "
                f"{self.geometry.mpp:g} asked for; training reads slides as they are. "
                "Leave it out, or give --mpp to fit the slides."
            )
        return grid

    def _write(
        self, annotations: Annotations, grid: Grid, tissue: TissueMask, report: Callable[[float], None]
    ) -> Path:
        """Write truth and overlay; return the path of the truth."""
        truth = self.truths / f"{self.xml.stem}-truth.tif"
        write_label_pyramids(
            _TruthTiles(annotations, grid, tissue if self.glass == "ignore" else None),
            grid,
            Palette(BACH_CLASSES),
            {"truth_of": self.slide.name, "annotations": self.xml.name, "glass": self.glass},
            labels=truth,
            overlay=truth.with_name(f"{self.xml.stem}-truth-overlay.tif"),
            progress=report,
        )
        return truth


class _TruthTiles:
    """Tiles of a truth (`wsi.writing.pyramid.TileSource`); with a tissue mask, unannotated glass is 0."""

    def __init__(self, annotations: Annotations, grid: Grid, tissue: TissueMask | None) -> None:
        self._grid, self._tissue = grid, tissue
        unannotated = NORMAL if tissue is None else 0
        self._truth = AnnotationTruth(annotations, grid.label_size, grid.downsample, unannotated=unannotated)

    def encoded_tile(self, column: int, row: int) -> bytes | None:
        """Return one tile of the truth as the bytes of a TIFF tile."""
        rect = Rect(column * TILE_PX, row * TILE_PX, TILE_PX, TILE_PX)
        labels = self._truth.read(rect)
        if self._tissue is not None:
            labels[(labels == 0) & self._tissue.crop(rect, self._grid)] = NORMAL
        return encode_tile(labels)


def _notes(annotations: Annotations, slide: Slide, slide_name: str) -> tuple[str, ...]:
    """Return notes on oddities of an XML for its slide.

    Raises:
        CohortError: No region lies on the slide.
    """
    size, own_mpp = slide.info.size, slide.info.mpp
    limits = (size.width, size.height)
    touching = [region for region in annotations.regions if _overlaps(region, limits)]
    if annotations.regions and not touching:
        raise CohortError(
            f"No region of {annotations.file} lies on {slide_name} ({size.width} x {size.height} px). "
            "Does the XML belong to another slide?"
        )
    away = [region.name for region in annotations.regions if region not in touching]
    out = [region.name for region in touching if _sticks_out(region, limits)]
    skipped = annotations.skipped
    notes = {
        f"regions {', '.join(skipped)} have fewer than three vertices and are left out": skipped,
        f"regions {', '.join(away)} lie off the slide and are left out": away,
        f"regions {', '.join(out)} stick out of the slide and are cut at its edge": out,
        "no regions: all of it counts as normal": not annotations.regions,
    }
    if annotations.mpp and own_mpp and abs(annotations.mpp / own_mpp.value - 1) > MPP_TOLERANCE:
        notes[
            f"it says {annotations.mpp:g} um/px, the slide {own_mpp.value:g}: the slide's is used "
            "(vertices are in level-0 px either way); see in the overlay whether they belong together"
        ] = True
    return tuple(f"{annotations.file}: {text}" for text, holds in notes.items() if holds)


def _overlaps(region: Region, limits: tuple[int, int]) -> bool:
    low, high = region.vertices_l0.min(axis=0), region.vertices_l0.max(axis=0)
    return bool((high > 0).all() and (low < limits).all())


def _sticks_out(region: Region, limits: tuple[int, int]) -> bool:
    return bool((region.vertices_l0 < 0).any() or (region.vertices_l0 > limits).any())
