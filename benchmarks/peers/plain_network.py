"""Network as the other competitors run it: fp32, as torch builds it, batch norms unfolded."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Self

import torch
import torch.nn.functional as F
from torch import Tensor

from model.card import ModelCard
from model.inference.preprocess import Normaliser
from model.network.base import ContextFeatures, SegmentationNetwork
from model.network.build import build_network
from model.weights import load_weights
from workers.bench.stand_in import StandInNetwork

from .task import BATCH_SLICES, Task


@dataclass(frozen=True, slots=True)
class PlainNetwork:
    """Network, and how its patches are cut. Sides in label px."""

    network: SegmentationNetwork
    normalise: Normaliser
    classes: int
    slice_px: int
    patch_px: int
    context_px: int

    @classmethod
    def of(cls, task: Task) -> Self:
        """Load the task's network and run it once.

        What libraries do once per shape is then done before the clock starts.
        """
        card = ModelCard.load(Path(task.card))
        if task.stand_in:
            network: SegmentationNetwork = StandInNetwork(card)
        else:
            network = build_network(card.network, len(card.classes))
            load_weights(network, Path(task.card).with_name(card.weights.file), sha256=card.weights.sha256)
        normalise = Normaliser(card.normalisation, torch.device("cpu"))
        plain = cls(
            network.eval(), normalise, len(card.classes), task.slice_px, task.patch_px, task.context_px
        )
        plain._warm_up()
        return plain

    @torch.inference_mode()
    def _warm_up(self) -> None:
        white = self.normalise(torch.full((1, 3, self.slice_px, self.slice_px), 255.0))
        context = self.context_of(white)
        for count in (1, BATCH_SLICES):
            boxes = self.boxes([(0, 0)] * count)
            self.logits(white.expand(count, -1, -1, -1), self.network.encode_context(context), boxes)

    def context_of(self, patches: Tensor) -> Tensor:
        """Down-sample normalised patches by area to contexts (P, 3, context_px, context_px)."""
        return F.interpolate(patches, size=(self.context_px, self.context_px), mode="area")

    def logits(self, slices: Tensor, context: Tensor | ContextFeatures, boxes: Tensor) -> Tensor:
        """Return logits (N, K, slice_px, slice_px) of normalised slices of one patch.

        Args:
            slices: (N, 3, slice_px, slice_px).
            context: of the patch, raw or encoded.
            boxes: (N, 4), see `boxes`.
        """
        logits: Tensor = self.network(slices, context, boxes)
        return F.interpolate(
            logits, size=(self.slice_px, self.slice_px), mode="bilinear", align_corners=False
        )

    def corners(self) -> Iterator[tuple[int, int]]:
        """Return (x, y) of each slice of a patch, row by row."""
        starts = range(0, self.patch_px, self.slice_px)
        return ((x, y) for y, x in product(starts, starts))

    def boxes(self, corners: list[tuple[int, int]]) -> Tensor:
        """Return where these slices lie in their patch, (N, 4) as SegmentationNetwork wants it."""
        edges = [(x, y, x + self.slice_px, y + self.slice_px) for x, y in corners]
        return torch.tensor(edges) / self.patch_px
