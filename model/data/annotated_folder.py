"""Find slides and the annotation files that belong to them, by name."""

import difflib
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import CohortError
from .annotations import SHAPE_SUFFIXES
from .label_image import IMAGE_SUFFIXES, MARKS
from .shapes import listed

SLIDE_SUFFIXES = frozenset(
    {".svs", ".tif", ".tiff", ".ndpi", ".mrxs", ".scn", ".bif", ".vms", ".vmu", ".svslide", ".czi"}
)
"""Suffixes by which a file without annotations is known to be a slide."""

NO_SLIDES = frozenset(
    {".xml", ".png", ".jpg", ".jpeg", ".bmp", ".json", ".geojson", ".gz", ".csv", ".txt", ".qpdata", ".md"}
)
"""Suffixes of other files that may lie beside a slide under its name: annotations, thumbnails, notes."""


@dataclass(frozen=True, slots=True)
class AnnotatedFile:
    """Slide with the file of its annotations; None: it has none."""

    slide: Path
    annotations: Path | None


@dataclass(frozen=True, slots=True)
class FoundSlides:
    """Slides by name, which is the file name without its suffix, and what was left aside."""

    slides: Mapping[str, AnnotatedFile]
    """Those with annotations, and the others where they were asked for."""
    bare: tuple[str, ...]
    """File names of slides without annotations that were passed over."""


def find_annotated(
    folders: Sequence[Path],
    annotations: Path | None = None,
    *,
    keep_bare: bool = False,
    ignore: Path | None = None,
) -> FoundSlides:
    """Find the slides of folders, and beside them, or in the folder `annotations`, what belongs to them.

    Annotations of slide.svs are slide.geojson, slide.svs.geojson, slide.json, slide.xml (also .gz of the
    first) or an image slide-labels.png, slide_labels.tif, slide-mask.png; in a folder of their own the image
    may be called as the slide. `keep_bare` keeps slides without any, the file `ignore` is none.

    Raises:
        CohortError: A folder is none, there are no annotations, some have no slide, or a name has several.
    """
    files = [path for folder in folders for path in _files(folder)]
    notes = files if annotations is None else _files(annotations)
    notes = [path for path in notes if ignore is None or not ignore.exists() or not path.samefile(ignore)]
    images = _label_images(notes, apart=annotations is not None)
    candidates = [path for path in files if path not in images]
    stems = {path.stem for path in candidates if path.suffix.lower() not in NO_SLIDES}
    owned = _owners([path for path in notes if _is_shapes(path) or path in images], stems)
    _check_owners(owned, candidates, stems)
    if not owned:
        where = annotations or ", ".join(map(str, folders))
        raise CohortError(
            f"{where} has no annotations of these slides. Put slide.geojson, slide.xml or slide-labels.png "
            "beside slide.svs, or name their folder with --annotations."
        )
    return _matched(sorted(stems), candidates, owned, keep_bare=keep_bare)


def _matched(
    names: Sequence[str],
    candidates: Sequence[Path],
    owned: Mapping[str, Sequence[Path]],
    *,
    keep_bare: bool,
) -> FoundSlides:
    """Put slides and annotations of the same name together."""
    found: dict[str, AnnotatedFile] = {}
    bare: list[str] = []
    for name in names:
        slides = slides_called(name, candidates)
        known = [path for path in slides if path.suffix.lower() in SLIDE_SUFFIXES]
        if name in owned:
            found[name] = AnnotatedFile(only(name, slides), only(name, owned[name]))
        elif known and keep_bare:
            found[name] = AnnotatedFile(only(name, known), None)
        else:
            bare += [path.name for path in known]
    return FoundSlides(found, tuple(bare))


def slides_called(name: str, files: Sequence[Path]) -> list[Path]:
    """Return the slide files of a name.

    A folder counts (DICOM) only where there is no file (MIRAX has both).
    """
    alike = [path for path in files if path.stem == name and path.suffix.lower() not in NO_SLIDES]
    return [path for path in alike if path.is_file()] or alike


def only(name: str, paths: Sequence[Path]) -> Path:
    """Return the one path of a name.

    Raises:
        CohortError: There are several.
    """
    if len(paths) > 1:
        raise CohortError(
            f"{name} is the name of {', '.join(path.name for path in paths)}. Leave one of them there alone."
        )
    return paths[0]


def _files(folder: Path) -> list[Path]:
    """Return what lies in a folder, but no hidden files.

    Raises:
        CohortError: It is no folder.
    """
    if not folder.is_dir():
        raise CohortError(f"{folder} is no folder. Name the one with the slides, or with their annotations.")
    return [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]


def _is_shapes(path: Path) -> bool:
    return path.name.lower().endswith(SHAPE_SUFFIXES) and path.is_file()


def _label_images(files: Sequence[Path], *, apart: bool) -> set[Path]:
    """Return the label images; in a folder of their own every image is one."""
    images = [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES]
    return {path for path in images if apart or path.stem.endswith(MARKS)}


def _owners(files: Sequence[Path], stems: set[str]) -> dict[str, list[Path]]:
    """Return annotation files by the name of their slide, or the name that it would have.

    Any JSON may lie beside slides, so one counts only if there is a slide of its name.
    """
    owned: dict[str, list[Path]] = defaultdict(list)
    for path in files:
        name = path.name
        if _is_shapes(path):
            ending = next(one for one in sorted(SHAPE_SUFFIXES, key=len)[::-1] if name.lower().endswith(one))
            name = name[: -len(ending)]
        else:
            mark = next((one for one in MARKS if path.stem.endswith(one)), "")
            name = path.stem.removesuffix(mark)
        if name not in stems and Path(name).stem in stems and Path(name).suffix:
            name = Path(name).stem
        if name in stems or ".json" not in path.name.lower():
            owned[name].append(path)
    return owned


def _check_owners(owned: Mapping[str, Sequence[Path]], files: Sequence[Path], stems: set[str]) -> None:
    """Check that every annotation file has a slide.

    Raises:
        CohortError: Some have none; close names are offered.
    """
    lonely = []
    for name in sorted(set(owned) - stems):
        near = difflib.get_close_matches(name.casefold(), {stem.casefold() for stem in stems}, 1, 0.7)
        offered = [path.name for path in files if near and path.stem.casefold() == near[0]]
        offered = [name for name in offered if Path(name).suffix.lower() not in NO_SLIDES]
        meant = f" (does it belong to {offered[0]}?)" if offered else ""
        lonely += [f"{path.name}{meant}" for path in owned[name]]
    if lonely:
        raise CohortError(
            f"there is no slide for {listed(lonely)}. An annotation file is called as its slide, but for the "
            "ending. Put the slide there, mend the name, or move the file away."
        )
