"""Prepare a folder of images with masks as slides with truth: EBHI-SEG, BCSS, or your own.

Each image becomes a TIFF slide and a label TIFF, so that training, evaluation and the service read it by one
road. What lies outside an image is white and has no truth.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tifffile
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from pydantic import TypeAdapter

from wsi.atomic import atomic_file
from wsi.geometry import Rect, Size, ceil_div
from wsi.grid import TILE_PX, Grid, InputGeometry, make_grid
from wsi.palette import LabelClass

from ..card import parse_strictly
from ..errors import CardError, CohortError
from .image_list import ListedImage
from .index import DataSet, PlannedSlice, SlideIndex
from .splits import Cohort, SlideWithTruth

SETS = ("train", "validation", "test")

Progress = Callable[[str, float], None]
"""Callback that gets an image's name and the fraction of the work done, 0..1."""


@dataclass(frozen=True, slots=True)
class CodedClass:
    """Class of a model, and the codes of masks that stand for it."""

    name: str
    colour: tuple[int, int, int]
    codes: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Coding:
    """Data set, classes in the order of their values 1..K, and the mask codes that have no truth.

    Raises:
        CohortError: A code stands for two classes, or there are none.
    """

    data_set: DataSet
    classes: tuple[CodedClass, ...]
    ignore: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        codes = [code for entry in self.classes for code in entry.codes] + list(self.ignore)
        twice = sorted({code for code in codes if codes.count(code) > 1})
        if twice or not self.classes or not all(0 <= code <= 65_535 for code in codes):
            raise CohortError(
                f"classes need codes of 0..65535, each in one class or in ignore; in several: {twice}"
            )

    @classmethod
    def load(cls, path: Path) -> "Coding":
        """Read the JSON that describes a data set: members data_set, classes and ignore.

        Raises:
            CohortError: It cannot be read or is no such description.
        """
        try:
            return parse_strictly(_CODING, json.loads(path.read_text(encoding="utf-8")), "description")
        except OSError as error:
            raise CohortError(f"cannot read {path}: {error.strerror}. Describe the classes in it.") from error
        except (ValueError, CardError) as error:
            raise CohortError(f"{path}: {error}") from error

    @property
    def label_classes(self) -> tuple[LabelClass, ...]:
        """The classes with their values 1..K."""
        return tuple(LabelClass(k, entry.name, entry.colour) for k, entry in enumerate(self.classes, start=1))

    def values(self, codes: NDArray[Any], name: str) -> NDArray[np.uint8]:
        """Return the class value of each code, 0 for those to ignore.

        Raises:
            CohortError: A code stands for nothing.
        """
        table = np.full(65_536, 255, np.uint8)
        table[list(self.ignore)] = 0
        for value, entry in enumerate(self.classes, start=1):
            table[list(entry.codes)] = value
        values: NDArray[np.uint8] = table[codes]
        if unknown := np.unique(codes[values == 255]).tolist():
            raise CohortError(f"{name} has the codes {unknown}: give each to a class, or to ignore.")
        return values


_CODING = TypeAdapter(Coding)


@dataclass(frozen=True, slots=True)
class PreparedImage:
    """Image written as a slide with truth."""

    pair: SlideWithTruth
    label_size: Size
    pixels: tuple[int, ...]
    """Number of label px of each value 0..K."""


def prepare_images(
    images: Mapping[str, Sequence[ListedImage]],
    out: Path,
    coding: Coding,
    geometry: InputGeometry,
    *,
    progress: Progress | None = None,
) -> dict[str, tuple[PreparedImage, ...]]:
    """Write `out`/slides/<name>.tif and `out`/truth/<name>-truth.tif for every image of every set.

    Pixels that are square, and that the model's mpp holds a whole number of times within 10 %, are kept as
    they are; others are resampled to that mpp. Masks are put on the label grid by picking the code under each
    middle. Memory: one image.

    Raises:
        CohortError: An image or a mask cannot be read, they differ in size, or a code has no class.
        WsiError: An image is more than twice as coarse as the model.
        OSError: A file cannot be written.
    """
    slides, truths = out / "slides", out / "truth"
    for folder in (slides, truths):
        folder.mkdir(parents=True, exist_ok=True)
    done, total = 0, sum(map(len, images.values()))
    prepared: dict[str, list[PreparedImage]] = {name: [] for name in SETS}
    for name, listed in images.items():
        for image in listed:
            prepared[name].append(_prepare(image, slides, truths, coding, geometry))
            done += 1
            if progress is not None:
                progress(image.name, done / total)
    return {name: tuple(found) for name, found in prepared.items()}


def index_images(
    prepared: Mapping[str, Sequence[PreparedImage]], coding: Coding, geometry: InputGeometry
) -> SlideIndex:
    """Return the index of prepared images.

    Training draws at random; validation and test plan squares that cover each image once, as small as they
    can be, so that little white is computed.

    Raises:
        CohortError: A set that is needed is empty, or a group is in two sets.
    """
    planned = {
        name: tuple(
            square
            for number, one in enumerate(prepared[name])
            for square in covering_squares(number, one, geometry)
        )
        for name in SETS[1:]
    }
    return SlideIndex(
        classes=coding.label_classes,
        input=geometry,
        cohort=Cohort(*(tuple(one.pair for one in prepared[name]) for name in SETS)),
        train=(),
        validation=planned["validation"],
        test=planned["test"],
        source=coding.data_set.name,
        data_set=coding.data_set,
    )


def _prepare(
    image: ListedImage, slides: Path, truths: Path, coding: Coding, geometry: InputGeometry
) -> PreparedImage:
    pixels, codes = _read_pixels(image.image), _read_codes(image.mask)
    if pixels.shape[:2] != codes.shape:
        raise CohortError(
            f"{image.mask.name} has {codes.shape[1]} x {codes.shape[0]} px, its image {pixels.shape[1]} x "
            f"{pixels.shape[0]}. Give the mask of this image."
        )
    values = coding.values(codes, image.mask.name)
    size, mpp, grid = _fitted(Size(pixels.shape[1], pixels.shape[0]), image.mpp, geometry)
    if (size.height, size.width) != pixels.shape[:2]:
        picture = Image.fromarray(pixels).resize((size.width, size.height), Image.Resampling.LANCZOS)
        pixels = np.asarray(picture)
    truth = _on_grid(values, size, grid)
    pair = SlideWithTruth(slides / f"{image.name}.tif", truths / f"{image.name}-truth.tif", image.group)
    _write_tiff(pair.slide, pixels, mpp, "rgb")
    _write_tiff(pair.truth, truth, grid.label_mpp, "minisblack")
    counts = np.bincount(truth.ravel(), minlength=len(coding.classes) + 1)
    return PreparedImage(pair, grid.label_size, tuple(counts.tolist()))


def _fitted(size: Size, mpp: tuple[float, float], geometry: InputGeometry) -> tuple[Size, float, Grid]:
    """Return the size and mpp at which an image is kept, and its grid."""
    across, down = mpp
    if across == down and (grid := make_grid(size, across, geometry)).exact:
        return size, across, grid
    make_grid(size, max(mpp), geometry)  # refuses what is too coarse
    fitted = Size(
        max(1, round(size.width * across / geometry.mpp)), max(1, round(size.height * down / geometry.mpp))
    )
    return fitted, geometry.mpp, make_grid(fitted, geometry.mpp, geometry)


def _on_grid(values: NDArray[np.uint8], size: Size, grid: Grid) -> NDArray[np.uint8]:
    """Pick the value under the middle of each label px of an image that is kept at `size`."""
    rows, columns = (
        ((np.arange(count) + 0.5) * grid.downsample * length / kept).astype(np.intp)
        for count, length, kept in (
            (grid.label_size.height, values.shape[0], size.height),
            (grid.label_size.width, values.shape[1], size.width),
        )
    )
    picked: NDArray[np.uint8] = values[np.ix_(rows, columns)]
    return picked


def covering_squares(number: int, image: PreparedImage, geometry: InputGeometry) -> Iterator[PlannedSlice]:
    """Yield squares of a multiple of 32 px that cover an image, each with the patch that it lies in."""
    size = image.label_size
    side = min(TILE_PX, ceil_div(max(size.width, size.height), 32) * 32)
    patch_px = geometry.slices_per_side * TILE_PX
    shares = tuple(round(count / max(1, size.pixels), 6) for count in image.pixels)
    for y in range(0, size.height, side):
        for x in range(0, size.width, side):
            patch = Rect(x // patch_px * patch_px, y // patch_px * patch_px, patch_px, patch_px)
            yield PlannedSlice(number, patch, Rect(x, y, side, side), shares)


def _read_pixels(path: Path) -> NDArray[np.uint8]:
    with _opened(path) as image:
        return np.asarray(image.convert("RGB"))


def _read_codes(path: Path) -> NDArray[Any]:
    """Return the codes (H, W) of a mask: one channel of integers, or the indices of a palette."""
    with _opened(path) as mask:
        codes = np.asarray(mask)
    if codes.ndim != 2 or not np.issubdtype(codes.dtype, np.integer):
        raise CohortError(
            f"{path.name} has {mask.mode} pixels; a mask has one channel of integers of 8 or 16 bit, the "
            "code of each pixel's class."
        )
    if codes.min(initial=0) < 0 or codes.max(initial=0) > 65_535:
        raise CohortError(f"{path.name} has codes outside 0..65535. Write it again.")
    return codes


def _opened(path: Path) -> Image.Image:
    try:
        image = Image.open(path)
        image.load()
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise CohortError(
            f"{path} cannot be read as an image ({error}). Put it right or leave it out."
        ) from error
    return image


def _write_tiff(path: Path, array: NDArray[np.uint8], mpp: float, photometric: str) -> None:
    with atomic_file(path) as temporary:
        tifffile.imwrite(
            temporary,
            array,
            photometric=photometric,
            tile=(256, 256),
            compression="adobe_deflate",
            resolution=(1e4 / mpp, 1e4 / mpp),
            resolutionunit="CENTIMETER",
            metadata=None,
        )
