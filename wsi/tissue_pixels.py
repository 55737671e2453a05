"""Tell which pixels of a slide's overview show tissue: stain, not glass, ink of pens or black borders."""

import math
from collections.abc import Iterator
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from .geometry import Rect

Mask = NDArray[np.bool_]
Plane = NDArray[np.uint8]

DROP_LIMITS = (14, 24)
"""Bounds of Otsu's threshold, grey values: noise of plain glass stays below, the palest eosin lies above."""

CLOSED_UM = 60.0
"""Radius, um, of gaps that are closed: lumina, fat."""

INK_RADIUS_UM = 30.0
"""A stroke of a pen holds discs of this radius; a clump of dark nuclei or pigment seldom does."""

INK_RIM_UM = 60.0
"""How far around a stroke paler ink of the same colour is looked for."""


class _Ink(NamedTuple):
    """Colours of ink, blue or green and black, by optical density."""

    least: int
    """Density of the most absorbed colour, hundredths: of 30 half, of 5 a tenth of the light is gone."""
    red: int
    """Density of red over that of every other colour, twentieths. Of haematoxylin, the bluest of common
    stains, it is about 20."""
    grey: int
    """Density of the least absorbed colour over that of the most, twentieths, in black ink."""


_STROKE, _PALE_INK, _RIM = _Ink(30, 28, 17), _Ink(5, 28, 17), _Ink(5, 23, 15)
"""The middle of a stroke; the same colours, but pale; where ink and glass are mixed."""

_MOST_INK = 1 / 3
"""A larger share of what is not glass is no ink but a stain, such as aniline blue or methyl green, or a slide
without colours."""

_BLACK = 25
_END = 128
"""Distance in bytes at which what is grown ends."""

_PALE, _PALE_SHARE = 80, 0.02
"""Grey values. Where less than this share of a slide is pale in all colours, its background is dark: black is
no border there, and blue no pen."""

_DEFAULT_GLASS = 245
_STRIP_PX = 256


def tissue_pixels(overview: Plane, px_um: float, bounds: Rect) -> tuple[Mask, Mask | None]:
    """Find tissue, its gaps closed, and where ink or a black border is, if there is any: (H, W) each.

    The measure of tissue is the drop of the most absorbed colour below the colour of the glass. Every stain,
    also a pale one, takes light from some colour; dirt-grey glass, a yellowish lamp and uneven brightness are
    in the glass colour, not in the drop. Ink lets little red through and more of all else (blue, green), or
    little of anything (black).

    Args:
        overview: (H, W, 3) RGB.
        px_um: side of a pixel.
        bounds: the scanned part, in pixels of the overview; a black border touches its edge.
    """
    # Plane by plane: numpy is slow over an axis of three.
    planes = [np.ascontiguousarray(overview[:, :, channel]) for channel in range(3)]
    glass = glass_colour(planes)
    drop = _drop(planes, glass)
    found = drop > min(max(_otsu(drop), DROP_LIMITS[0]), DROP_LIMITS[1])
    ink = _ink(overview, planes, glass, px_um, bounds, most=_MOST_INK * np.count_nonzero(found))
    if ink is not None:
        # One pixel more: there ink and glass are mixed.
        found &= ~dilated(ink, 1)
    # Specks go before gaps are closed: closing would join dust to islands.
    return _closed(_opened(found), CLOSED_UM / px_um), ink


def glass_colour(planes: list[Plane]) -> list[int]:
    """Return red, green and blue of bare glass, of three planes; a usual value where a slide shows none."""
    brightest, darkest = np.maximum.reduce(planes), np.minimum.reduce(planes)
    # Pure white is what readers put where nothing was scanned; it says nothing about the lamp.
    glass = (darkest >= 200) & (brightest - darkest <= 20) & (darkest <= 253)
    if np.count_nonzero(glass) < 0.005 * glass.size:
        return [_DEFAULT_GLASS] * 3
    return [_upper_tenth(plane, glass) for plane in planes]


def dilated(mask: Mask, radius_px: float) -> Mask:
    """Dilate a mask by a disc: pixels whose centre is within `radius_px` of that of one in the mask."""
    return _as_mask(cv2.dilate(mask.view(np.uint8), _disc(radius_px)))


def grown(mask: Mask, radius_px: float, *, zoom: int) -> Mask:
    """Grow a mask by a disc of `radius_px`; return it `zoom` times as fine, with a smooth outline."""
    if not mask.any():
        return np.zeros((mask.shape[0] * zoom, mask.shape[1] * zoom), np.bool_)
    far = cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5)
    # As bytes: sums of floats are not the same on every machine.
    near: NDArray[Any] = cv2.convertScaleAbs(far, alpha=_END / (radius_px + 0.5))
    if zoom > 1:
        size = (mask.shape[1] * zoom, mask.shape[0] * zoom)
        near = cv2.resize(near, size, interpolation=cv2.INTER_LINEAR_EXACT)
    return np.asarray(near < _END, np.bool_)


def _drop(planes: list[Plane], glass: list[int]) -> Plane:
    """Return by how much the most absorbed colour lies below the colour of the glass: (H, W)."""
    drop = np.zeros(planes[0].shape, np.uint8)
    for plane, colour in zip(planes, map(np.uint8, glass), strict=True):
        np.maximum(drop, colour - np.minimum(plane, colour), out=drop)
    return drop


def _upper_tenth(plane: Plane, where: Mask) -> int:
    """Return the 90th percentile of a plane where the mask is True."""
    # Pillow counts bytes; numpy would sort them, or make them integers of 8 bytes first.
    counts = Image.fromarray(plane).histogram(Image.fromarray(where.view(np.uint8) * np.uint8(255)))
    return int(np.searchsorted(np.cumsum(counts), 0.9 * sum(counts)))


def _otsu(values: Plane) -> int:
    """Return the threshold that separates the histogram best (Otsu 1979): values above it are foreground."""
    histogram = np.array(Image.fromarray(values).histogram(), np.float64)
    below = np.cumsum(histogram)
    moment = np.cumsum(histogram * np.arange(256))
    above = below[-1] - below
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (moment[-1] * below / below[-1] - moment) ** 2 / (below * above)
    return int(np.nanargmax(np.where(np.isfinite(between), between, 0.0)))


def _ink(
    overview: Plane, planes: list[Plane], glass: list[int], px_um: float, bounds: Rect, *, most: float
) -> Mask | None:
    """Return where pens have drawn and where a border is black: (H, W); None if nowhere.

    More than `most` pixels of a colour are no ink.
    """
    # Strokes are wide: what holds them shows on a smaller picture, and most slides have none.
    zoom = max(1, int(INK_RADIUS_UM / px_um))
    height, width = (max(1, side // zoom) for side in planes[0].shape)
    # Whole pixels of it only: twice as fast.
    whole = overview[: height * zoom, : width * zoom]
    small = np.asarray(cv2.resize(whole, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    small_planes = [np.ascontiguousarray(small[:, :, channel]) for channel in range(3)]
    darkest = np.minimum.reduce(small_planes)
    if np.count_nonzero(darkest >= _PALE) < _PALE_SHARE * darkest.size:
        return None
    ink = _border(planes, bounds)
    coloured, black = _strokes(small_planes, glass, zoom * px_um, most=most / zoom**2)
    if (coloured | black).any():
        pale_coloured, pale_black = _of_ink(planes, glass, _RIM)
        radius = INK_RIM_UM / (zoom * px_um)
        pale_coloured &= _enlarged(dilated(coloured, radius), planes[0].shape)
        pale_black &= _enlarged(dilated(black, radius), planes[0].shape)
        strokes = pale_coloured | pale_black
        ink = strokes if ink is None else ink | strokes
    return ink


def _enlarged(mask: Mask, shape: tuple[int, ...]) -> Mask:
    size = (shape[1], shape[0])
    return _as_mask(cv2.resize(mask.view(np.uint8), size, interpolation=cv2.INTER_NEAREST))


def _of_ink(planes: list[Plane], glass: list[int], ink: _Ink) -> tuple[Mask, Mask]:
    """Return where colours are those of blue or green ink, and those of black."""
    coloured, black = np.empty(planes[0].shape, np.bool_), np.empty(planes[0].shape, np.bool_)
    tables = [_densities(colour) for colour in glass]
    for rows in _strips(planes[0].shape[0]):
        red, green, blue = (table[plane[rows]] for table, plane in zip(tables, planes, strict=True))
        others = np.maximum(green, blue)
        most, least = np.maximum(red, others), np.minimum(np.minimum(red, green), blue)
        coloured[rows] = (red >= ink.least) & (20 * red > ink.red * others)
        black[rows] = (most >= ink.least) & (20 * least >= ink.grey * most)
    return coloured, black


def _densities(glass: int) -> NDArray[np.int16]:
    """Return the optical density of each grey value, hundredths."""
    values = np.arange(256, dtype=np.float64)
    density = -100 * np.log10((values + 1) / (glass + 1))
    densities: NDArray[np.int16] = np.maximum(np.rint(density), 0).astype(np.int16)
    return densities


def _strokes(planes: list[Plane], glass: list[int], px_um: float, *, most: float) -> tuple[Mask, Mask]:
    """Return what is as dark and as wide as a pen's stroke, coloured and black.

    None of a colour that more than `most` pixels have, pale ones too.
    """
    disc = _disc(INK_RADIUS_UM / px_um)
    strokes: list[Mask] = []
    for dark, pale in zip(_of_ink(planes, glass, _STROKE), _of_ink(planes, glass, _PALE_INK), strict=True):
        if np.count_nonzero(pale) > most:
            dark[:] = False
        strokes.append(_as_mask(cv2.morphologyEx(dark.view(np.uint8), cv2.MORPH_OPEN, disc)))
    return strokes[0], strokes[1]


def _border(planes: list[Plane], bounds: Rect) -> Mask | None:
    """Return the connected black parts that touch the edge of the scanned part; None if there are none."""
    inside = (slice(bounds.y, bounds.bottom), slice(bounds.x, bounds.right))
    scanned = [plane[inside] for plane in planes]
    for edge in (np.s_[0], np.s_[-1], np.s_[:, 0], np.s_[:, -1]):
        if (np.maximum.reduce([plane[edge] for plane in scanned]) <= _BLACK).any():
            break
    else:
        return None
    _, labels = cv2.connectedComponents(
        (np.maximum.reduce(scanned) <= _BLACK).view(np.uint8), connectivity=4, ltype=cv2.CV_32S
    )
    touching = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
    border = np.zeros(planes[0].shape, np.bool_)
    border[inside] = np.isin(labels, touching[touching > 0])
    return border


def _opened(mask: Mask) -> Mask:
    """Open the mask: drop what is less than 2 px wide. Tissue at the edge counts as going on beyond it."""
    wider = np.pad(mask, 1, mode="edge")
    pairs = wider[:-1, :-1] & wider[1:, :-1] & wider[:-1, 1:] & wider[1:, 1:]
    return pairs[:-1, :-1] | pairs[1:, :-1] | pairs[:-1, 1:] | pairs[1:, 1:]


def _closed(mask: Mask, radius_px: float) -> Mask:
    """Close gaps that no disc of this radius fits into; outside counts as tissue."""
    return _as_mask(cv2.morphologyEx(mask.view(np.uint8), cv2.MORPH_CLOSE, _disc(radius_px)))


def _disc(radius_px: float) -> Plane:
    """Return a disc whose rim holds pixels with a centre within `radius_px`, at least one pixel around."""
    radius = max(1.0, radius_px)
    reach = math.floor(radius)
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(x * x + y * y <= radius * radius, np.uint8)


def _as_mask(values: NDArray[np.generic]) -> Mask:
    return np.asarray(values, np.uint8).view(np.bool_)


def _strips(height: int) -> Iterator[slice]:
    """Yield rows in strips that fit a cache."""
    for y in range(0, height, _STRIP_PX):
        yield slice(y, min(y + _STRIP_PX, height))
