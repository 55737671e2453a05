"""Note what is odd about the annotations of a slide, for a person to read."""

from collections.abc import Sequence

import shapely

from wsi.geometry import Size
from wsi.reading.slide_info import SlideInfo

from ..errors import CohortError
from .annotations import Annotations, Region
from .class_scheme import ClassScheme
from .shapes import listed
from .truth import arranged

MPP_TOLERANCE = 0.10
"""Relative difference between the mpp of annotations and slide above which a note is made."""


def oddities(
    annotations: Annotations, info: SlideInfo, slide_name: str, scheme: ClassScheme
) -> tuple[str, ...]:
    """Return one line for each oddity; none stops the work.

    Raises:
        CohortError: No region lies on the slide.
    """
    size = info.size
    touching = [region for region in annotations.regions if _overlaps(region, size)]
    if annotations.regions and not touching:
        raise CohortError(
            f"No region of {annotations.file} lies on {slide_name} ({size.width} x {size.height} px). "
            "Do the annotations belong to another slide, or are they not in level-0 pixels?"
        )
    away = [region for region in annotations.regions if not _overlaps(region, size)]
    out = [region for region in touching if _sticks_out(region, size)]
    drawn = arranged(annotations.regions, scheme)
    notes = [
        *_told(annotations.skipped, "have fewer than three vertices and are left out"),
        *_told(_names(away), "lie off the slide and are left out"),
        *_told(_names(out), "stick out of the slide and are cut at its edge"),
        *_told(annotations.unclassified, "have no class and are left out"),
        *_told(_names(drawn.crossing), "cross themselves and are mended; see them in the overlay"),
        *_told(_names(drawn.loose), "are holes in no region and are left out"),
        *_counted(annotations.left_out, "regions are left out, as the classes say"),
        *_counted(annotations.passed_over, "cells or other detections are passed over"),
    ]
    if not annotations.regions:
        whole = f"counts as {scheme.background}" if scheme.unlabelled == "background" else "has no truth"
        notes.append(f"no regions: all of it {whole}")
    if annotations.mpp and info.mpp and abs(annotations.mpp / info.mpp.value - 1) > MPP_TOLERANCE:
        notes.append(
            f"it says {annotations.mpp:g} um/px, the slide {info.mpp.value:g}: the slide's is used "
            "(vertices are in level-0 px either way); see in the overlay whether they belong together"
        )
    return tuple(f"{annotations.file}: {text}" for text in notes)


def _told(names: Sequence[str], text: str) -> list[str]:
    return [f"regions {listed(names)} {text}"] if names else []


def _counted(number: int, text: str) -> list[str]:
    return [f"{number} {text}"] if number else []


def _names(regions: Sequence[Region]) -> list[str]:
    return [region.name for region in regions]


def _overlaps(region: Region, size: Size) -> bool:
    left, top, right, bottom = shapely.bounds(region.outline)
    return bool(right > 0 and bottom > 0 and left < size.width and top < size.height)


def _sticks_out(region: Region, size: Size) -> bool:
    left, top, right, bottom = shapely.bounds(region.outline)
    return bool(left < 0 or top < 0 or right > size.width or bottom > size.height)
