"""List images with their masks, pixel sizes and groups, from a CSV or from their file names."""

import csv
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..errors import CohortError
from .splits import Split

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"})

SET_NAMES = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}
"""Set by what the column "split" of an index may call it."""

MPP_IN_NAME = re.compile(r"MPP-(\d+(?:\.\d+)?)")
"""Pixel size in the names of BCSS, such as TCGA-A1-A0SK-DX1_xmin45749_ymin25055_MPP-0.2500.png."""

TCGA_PATIENT = r"^(TCGA-\w\w-\w{4})"
"""Patient in the names of TCGA's slides and of regions cut from them."""


@dataclass(frozen=True, slots=True)
class ListedImage:
    """Image to prepare."""

    name: str
    """Name of the files to write, without suffix."""
    image: Path
    mask: Path
    mpp: tuple[float, float]
    """Pixel size of image and mask, um: width and height of a pixel."""
    group: str
    """Patient or slide, which must not be torn between sets."""


def images_of_index(
    folder: Path,
    index: Path,
    mpp: tuple[float, float] | None,
    *,
    group: str = "patient",
    leave_out: Mapping[str, str] | None = None,
) -> dict[str, list[ListedImage]]:
    """List the images that a CSV names, by set.

    Its columns are image and mask (paths from `folder`), split (train, val or validation, test) and `group`.
    Training rows that have the value of a column in `leave_out` are left out.

    Raises:
        CohortError: The CSV cannot be read, lacks a column or names a file that is not there, a row has no
            such set, two images have one name, or a pixel size is unknown.
    """
    rows = _rows(index, ("image", "mask", "split", group, *(leave_out or {})))
    listed: dict[str, list[ListedImage]] = {"train": [], "validation": [], "test": []}
    for number, row in enumerate(rows, start=2):
        chosen = SET_NAMES.get(row["split"].strip().lower())
        if chosen is None:
            raise CohortError(
                f'{index.name}, line {number}: split is "{row["split"]}"; write train, validation or test.'
            )
        if chosen == "train" and any(row[column] == value for column, value in (leave_out or {}).items()):
            continue
        listed[chosen].append(
            _listed(folder / row["image"], folder / row["mask"], mpp, f"{group} {row[group]}")
        )
    _check_names([image for images in listed.values() for image in images])
    return listed


def images_of_folders(
    images: Path, masks: Path, mpp: tuple[float, float] | None, *, group: str = TCGA_PATIENT
) -> list[ListedImage]:
    """List the images of a folder that have a mask of the same name, without suffix, in another one.

    `group` is a regular expression; what its first parenthesis matches in a name is the image's group.

    Raises:
        CohortError: A folder is none or holds no image, a mask is missing, a name has no group, two images
            have one name, or a pixel size is unknown.
    """
    files = {folder: _images_in(folder) for folder in (images, masks)}
    masks_by_stem = {path.stem: path for path in files[masks]}
    if missing := sorted(path.name for path in files[images] if path.stem not in masks_by_stem):
        raise CohortError(f"{masks} lacks the masks of {', '.join(missing[:5])} ({len(missing)} in all).")
    listed = []
    for path in files[images]:
        found = re.search(group, path.stem)
        if found is None or not found.groups():
            raise CohortError(
                f"{path.name}: {group} finds no patient or slide in its name. Give --group with a regular "
                "expression whose first parenthesis does, or an --index."
            )
        listed.append(_listed(path, masks_by_stem[path.stem], mpp, found.group(1)))
    _check_names(listed)
    return listed


def split_images(images: Sequence[ListedImage], split: Split) -> dict[str, list[ListedImage]]:
    """Sort images into the sets of a split of their groups."""
    sets = {"train": split.train, "validation": split.validation, "test": split.test}
    return {name: [image for image in images if image.group in groups] for name, groups in sets.items()}


def _rows(index: Path, columns: Sequence[str]) -> list[dict[str, str]]:
    try:
        with index.open(newline="", encoding="utf-8-sig") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise CohortError(f"{index} cannot be read as CSV ({error}).") from error
    if not rows or (lacking := [name for name in columns if rows[0].get(name) is None]):
        raise CohortError(
            f"{index.name} lacks {', '.join(lacking) if rows else 'rows'}; give it a header row."
        )
    return rows


def _images_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise CohortError(f"{folder} is no folder. Name those of images and masks.")
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in IMAGE_SUFFIXES)
    if not found:
        raise CohortError(f"{folder} holds no image ({', '.join(sorted(IMAGE_SUFFIXES))}).")
    return found


def _listed(image: Path, mask: Path, mpp: tuple[float, float] | None, group: str) -> ListedImage:
    for path in (image, mask):
        if not path.is_file():
            raise CohortError(f"{path} is not there. Put it there, or leave its row out.")
    if mpp is None:
        named = MPP_IN_NAME.search(image.stem)
        if named is None or not 0.01 <= float(named.group(1)) <= 20:
            raise CohortError(f"{image.name}: pixel size unknown. Give --image-mpp.")
        mpp = (float(named.group(1)),) * 2
    return ListedImage(image.stem, image, mask, mpp, group)


def _check_names(images: Sequence[ListedImage]) -> None:
    if twice := sorted(name for name, count in Counter(image.name for image in images).items() if count > 1):
        raise CohortError(f"{', '.join(twice[:5])}: several images of one name. Give each its own.")
