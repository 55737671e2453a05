"""A stand-in for a segmenter that reads classes off the colours of conftest's slides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.card import ModelCard

Labels = NDArray[np.uint8]


def true_labels(pixels: Labels) -> Labels:
    """Class 1, 2 or 3 by brightness; glass is taken for 1."""
    red = pixels[..., 0]
    return np.where(red > 190, 1, np.where(red > 120, 2, 3)).astype(np.uint8)


@dataclass
class Oracle:
    """Answers as a Segmenter does; `label` turns pixels into labels, `calls` are the keywords it was called with."""

    card: ModelCard
    label: Callable[[Labels], Labels] = true_labels
    device: str = "none"
    dtype: str = "none"
    calls: list[dict[str, int]] = field(default_factory=list)

    def label_patch(
        self,
        pixels: Labels,
        corners: Sequence[tuple[int, int]],
        *,
        window_px: int,
        halo_px: int,
        slice_network_px: int,
        context_network_px: int,
    ) -> Labels:
        side = window_px - 2 * halo_px
        self.calls.append(
            {
                "region": pixels.shape[0],
                "windows": len(corners),
                "slice": slice_network_px,
                "context": context_network_px,
            }
        )
        for x, y in corners:
            assert 0 <= x <= pixels.shape[1] - window_px
            assert 0 <= y <= pixels.shape[0] - window_px
        windows = [
            pixels[y + halo_px : y + halo_px + side, x + halo_px : x + halo_px + side] for x, y in corners
        ]
        return np.stack([self.label(window) for window in windows])
