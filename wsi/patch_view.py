"""Cut a patch for a network: the region read, its slices, their windows, and the context they are seen in.

Inference, evaluation and training cut patches by this one type.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .geometry import Rect


@dataclass(frozen=True, slots=True)
class PatchView:
    """One patch as a network sees it. Rectangles and corners are label px in the slide's frame."""

    region: Rect
    """What is read at label px: holds every window and a shared context; may stick out of the slide."""
    context: Rect
    """What is encoded as context: the patch, inside the region, or a field that holds every context
    window."""
    corners: tuple[tuple[int, int], ...]
    """(x, y) of each slice."""
    slice_px: int
    """Side of a slice: what is labelled of one window and kept; a tile, or more where windows are larger."""
    halo_px: int
    """Margin around a slice that the network sees and whose labels are not kept."""
    slice_network_px: int
    """Side of a window as it is fed to the network, network px, multiple of 32."""
    context_network_px: int
    """Side of the context as it is fed to the network, network px, multiple of 32."""
    context_windows: tuple[Rect, ...] = ()
    """The part of the context that each slice sees, centred on it; empty: every slice sees all of it."""

    @property
    def slices(self) -> tuple[Rect, ...]:
        """The slices as rectangles, without halo."""
        return tuple(Rect(x, y, self.slice_px, self.slice_px) for x, y in self.corners)

    @property
    def window_px(self) -> int:
        """Side of a window: a slice and its halo on both sides."""
        return self.slice_px + 2 * self.halo_px

    @property
    def windows(self) -> tuple[tuple[int, int], ...]:
        """(x, y) of each window in the region, label px from the region's corner."""
        return tuple(
            (x - self.halo_px - self.region.x, y - self.halo_px - self.region.y) for x, y in self.corners
        )

    @property
    def context_in_region(self) -> Rect:
        """The context in the region's frame."""
        return self.context.moved(-self.region.x, -self.region.y)

    @property
    def boxes(self) -> NDArray[np.float32]:
        """(N, 4) float32: left, top, right, bottom of each window as fractions of the context's sides."""
        return self._fractions([one.grown(self.halo_px) for one in self.slices])

    @property
    def context_boxes(self) -> NDArray[np.float32]:
        """(N, 4) float32: the same of each context window."""
        return self._fractions(self.context_windows)

    @property
    def context_window_network_px(self) -> int:
        """Side of a context window at the context's scale, network px, the nearest multiple of 32."""
        share = self.context_windows[0].width / self.context.width
        return max(1, round(share * self.context_network_px / 32)) * 32

    def _fractions(self, rects: Sequence[Rect]) -> NDArray[np.float32]:
        edges = [(one.x, one.y, one.right, one.bottom) for one in rects]
        # Whole numbers until the division, so that the place on the slide does not round.
        offsets = np.array(edges, np.int64).reshape(-1, 4) - (self.context.x, self.context.y) * 2
        sides = np.array((self.context.width, self.context.height) * 2, np.float32)
        fractions: NDArray[np.float32] = offsets.astype(np.float32) / sides
        return fractions

    @property
    def shape(self) -> tuple[int, int, int, int, int]:
        """What fixes memory and arithmetic: views of equal shape take equally large batches."""
        return (
            self.region.width,
            self.window_px,
            self.halo_px,
            self.slice_network_px,
            self.context_network_px,
        )
