"""A stand-in for a segmenter that reads classes off the colours of conftest's slides."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from model.card import ModelCard
from model.data.splits import SlideWithTruth
from model.evaluation.evaluate import evaluate_patches, open_slides
from model.evaluation.metrics import ConfusionMatrix
from model.evaluation.regions import grid_patches
from model.inference.segmenter import Segmenter
from wsi.patch_view import PatchView

Labels = NDArray[np.uint8]


def true_labels(pixels: Labels) -> Labels:
    """Class 1, 2 or 3 by brightness; glass is taken for 1."""
    red = pixels[..., 0]
    return np.where(red > 190, 1, np.where(red > 120, 2, 3)).astype(np.uint8)


@dataclass
class Oracle:
    """Stand-in for a Segmenter: `label` turns pixels into labels, `calls` holds the sizes of each call."""

    card: ModelCard
    label: Callable[[Labels], Labels] = true_labels
    device: str = "none"
    dtype: str = "none"
    calls: list[dict[str, int]] = field(default_factory=list)

    def label_patch(self, pixels: Labels, view: PatchView, *, context: Labels | None = None) -> Labels:
        assert (context is None) == (not view.context_windows)
        self.calls.append(
            {
                "region": pixels.shape[0],
                "windows": len(view.windows),
                "slice": view.slice_network_px,
                "context": view.context_network_px,
            }
        )
        for x, y in view.windows:
            assert 0 <= x <= pixels.shape[1] - view.window_px
            assert 0 <= y <= pixels.shape[0] - view.window_px
        own = (rect.moved(-view.region.x, -view.region.y) for rect in view.slices)
        return np.stack([self.label(pixels[one.y : one.bottom, one.x : one.right]) for one in own])


def confusion_of(segmenter: Segmenter, slides: Sequence[SlideWithTruth]) -> ConfusionMatrix:
    """Confusion matrix of a model over all pixels with truth."""
    with open_slides(segmenter.card, slides) as opened:
        patches = grid_patches(opened, len(segmenter.card.classes))
        return evaluate_patches(segmenter, opened, patches).total.all
