"""Resolve the pixel size of a slide: of several sources in a fixed order, the first with a sane value."""

import math
from dataclasses import dataclass

from ..errors import MppOutOfRangeError

SANE_MPP = (0.05, 5.0)
"""Range of pixel sizes that are believed, um/px.

Files in the wild say 0, -0.5, 9e99 or (72 dpi by default) 352.8.
"""

_MAX_ANISOTROPY = 0.10

_OBJECTIVE_MPP = {40.0: 0.25, 20.0: 0.5, 10.0: 1.0, 5.0: 2.0}

Pair = tuple[float, float]
"""Horizontal and vertical um/px."""


@dataclass(frozen=True, slots=True)
class Mpp:
    """Pixel size of a slide and which source said so."""

    value: float
    """um per level-0 px."""
    source: str
    """"request", "vendor", "ome-xml", "tiff-resolution" or "objective-power" (a guess)."""


def resolve_mpp(
    *,
    request: float | None = None,
    vendor: Pair | None = None,
    ome: Pair | None = None,
    tiff_resolution: Pair | None = None,
    objective_power: float | None = None,
) -> Mpp | None:
    """Return the pixel size in um/px, or None when no source gives one.

    The caller then asks for it (MppUnknownError). Sources, in this order: what the request says, vendor
    properties, OME-XML, TIFF resolution tags, typical objective powers (40, 20, 10, 5). A pair whose sides
    differ by more than 10 % is not used, otherwise averaged.

    Raises:
        MppOutOfRangeError: the request is senseless; that is a mistake its sender should hear of.
    """
    if request is not None:
        if not _is_sane(request):
            low, high = SANE_MPP
            raise MppOutOfRangeError(
                f"mpp={request:g} is no pixel size: send {low:g} to {high:g} um/px, e.g. 0.25 for 40x."
            )
        return Mpp(request, "request")
    for pair, source in (
        (vendor, "vendor"),
        (ome, "ome-xml"),
        (tiff_resolution, "tiff-resolution"),
    ):
        value = _mean(pair)
        if value is not None:
            return Mpp(value, source)
    guess = _OBJECTIVE_MPP.get(objective_power) if objective_power is not None else None
    return None if guess is None else Mpp(guess, "objective-power")


def _mean(pair: Pair | None) -> float | None:
    if pair is None or not all(_is_sane(side) for side in pair):
        return None
    mean = sum(pair) / 2
    return mean if abs(pair[0] - pair[1]) <= _MAX_ANISOTROPY * mean else None


def _is_sane(mpp: float) -> bool:
    return math.isfinite(mpp) and SANE_MPP[0] <= mpp <= SANE_MPP[1]
