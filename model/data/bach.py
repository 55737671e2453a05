"""Prepare ICIAR2018 (BACH) part B, or other slides with ImageScope XML in its words."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from wsi.grid import InputGeometry

from ..errors import CohortError
from .annotated_folder import AnnotatedFile, only, slides_called
from .own_slides import prepare_slides
from .prepared import PreparedSlides, Progress, unheard
from .presets import BACH
from .splits import Split

BACH_CLASSES = BACH.labels

Glass = Literal["normal", "ignore"]
"""Truth of glass outside the tissue: class normal, as in the paper, or no truth at all."""


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
    slides = {name: slides_called(name, files) for name in names or xmls}
    missing = [f"{name}.xml" for name in slides if name not in xmls]
    missing += [
        f"the slide of {name}.xml" if name in xmls else f"{name}.svs" for name in slides if not slides[name]
    ]
    if missing:
        raise CohortError(
            f"{folder} lacks {', '.join(sorted(missing))}. Put them there, or make a split of the slides "
            "that are."
        )
    return {name: (only(name, found), xmls[name]) for name, found in slides.items()}


def prepare_annotated(
    folder: Path,
    out: Path,
    split: Split,
    geometry: InputGeometry,
    *,
    glass: Glass = "normal",
    progress: Progress = unheard,
) -> PreparedSlides:
    """Write the truths of a split of slides; see `own_slides.prepare_slides`.

    Raises:
        CohortError: Files are missing or do not fit together.
        WsiError: A slide cannot be read.
    """
    files = {name: AnnotatedFile(*pair) for name, pair in annotated_slides(folder, split.names).items()}
    scheme = replace(BACH, glass="background" if glass == "normal" else "ignore")
    return prepare_slides(files, out, split, geometry, scheme, progress=progress)
