"""Cut a patch for a network: the region read, its slices, their windows, and the context they are seen in.

Inference, evaluation and training cut patches by this one type.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .geometry import Rect


@dataclass(frozen=True, slots=True)
class PatchView:
    """One patch as a network sees it. Rectangles and corners are label px in the slide's frame."""

    region: Rect
    """What is read of the slide at once; holds every window and the context; may stick out of the slide."""
    context: Rect
    """What becomes the context, inside the region."""
    corners: tuple[tuple[int, int], ...]
    """(x, y) of each slice."""
    slice_px: int
    """Side of a slice: what is labelled and kept."""
    halo_px: int
    """Margin around a slice that the network sees and whose labels are not kept."""
    slice_network_px: int
    """Side of a window as it is fed to the network, network px, multiple of 32."""
    context_network_px: int
    """Side of the context as it is fed to the network, network px, multiple of 32."""

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
        inside, side = self.context_in_region, self.window_px
        edges = [(x, y, x + side, y + side) for x, y in self.windows]
        origin = np.array((inside.x, inside.y) * 2, np.float32)
        sides = np.array((inside.width, inside.height) * 2, np.float32)
        boxes: NDArray[np.float32] = (np.array(edges, np.float32).reshape(-1, 4) - origin) / sides
        return boxes

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
