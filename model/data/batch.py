"""Shape of a training batch: patches, slices a patch, sizes, zoom."""

from dataclasses import dataclass

from ..errors import InputError

MOST_ZOOM = 1.25
"""Largest end of a range of zooms."""


@dataclass(frozen=True, slots=True)
class BatchSpec:
    """Number and size of the patches and slices of one training batch."""

    slice_px: int
    """Side of a training slice in px, a multiple of 32."""
    patches: int = 2
    """Patches (contexts) a step."""
    slices: int = 4
    """Slices of each patch; they share its context. 0 trains the context encoder alone, by its own loss."""
    scales: tuple[float, float] = (1.0, 1.0)
    """Range of a random zoom: at 0.5 slice and context show twice the length, at half the size. Hardly above
    1: no detail is made up, but the pixel sizes that files state are off by some percent either way."""

    def __post_init__(self) -> None:
        if not 0 < self.scales[0] <= self.scales[1] <= MOST_ZOOM:
            raise InputError(f"{self}: scales are two numbers of 0..{MOST_ZOOM}, the smaller first")
        if self.patches < 1 or self.slices < 0 or self.slice_px < 32 or self.slice_px % 32:
            raise InputError(f"{self}: patches >= 1, slices >= 0, slice_px a multiple of 32")
