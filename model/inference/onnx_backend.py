"""Compute a network that an ONNX file holds, with ONNX Runtime on the CPU."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ..card import ModelCard
from ..errors import DeviceError, InputError
from ..network.base import ContextWindows
from ..network.blocks import crop_at
from ..onnx_graph import OnnxGraph
from ..weights import read_checked
from .backend import EncodedContext
from .fixed_size import cut, stitch
from .graph_ports import ports_of
from .onnx_session import OnnxSession, read_graph
from .preprocess import Normaliser

CPU = torch.device("cpu")

WHOLE = torch.tensor([[0.0, 0.0, 1.0, 1.0]])
"""Box of a context that all slices share."""

SMALLEST = 1e-7
"""Probabilities nearer to 0 or 1 than this are taken for this: scores stay finite."""

PRECISION_OF = {"float16": "fp16", "float64": "fp64"}
"""Precision by the number format of a graph's input; fp32 for all others."""


@dataclass(frozen=True, slots=True)
class ContextImages:
    """Contexts as images, for graphs that encode them in each pass."""

    images: Tensor
    """(1, 3, side, side) for all slices, or (N, 3, side, side), one a slice; 0..255."""
    places: Tensor
    """(N, 4) where the context of each slice lies in the field, fractions of its sides; (1, 4) for all."""

    @property
    def are_cut(self) -> bool:
        """Whether each slice has an image of its own, cut from the field."""
        return len(self.images) > 1

    def part(self, start: int, stop: int) -> "ContextImages":
        """Return those of slices start..stop; pad with the last."""
        rows = torch.arange(start, stop).clamp(max=len(self.places) - 1)
        return replace(
            self, images=self.images[rows] if self.are_cut else self.images, places=self.places[rows]
        )


class OnnxBackend:
    """Back end that computes in ONNX Runtime, on the CPU, in the number format of the graph."""

    device = CPU
    compiled = False
    logit_px: int | None = None
    batch_matters = True

    def __init__(self, session: OnnxSession, card: ModelCard) -> None:
        """Match the graph with what the card says of it.

        Raises:
            CardError: They do not go together; the message says how they would.
        """
        self._session = session
        self._graph = card.onnx or OnnxGraph()
        self._classes = len(card.classes)
        self._ports = ports_of(session, card)
        self._normalise = Normaliser(card.normalisation, CPU, white=self._white)
        self.name = session.runtime
        self.dtype = PRECISION_OF.get(self._ports.window.dtype, "fp32")

    @classmethod
    def load(cls, card_path: Path, card: ModelCard, *, device: str, precision: str) -> "OnnxBackend":
        """Load the ONNX file of a card, which lies beside it; threads are as many as torch has.

        Raises:
            WeightsError: The file cannot be used, is not the card's, or ONNX Runtime is not installed.
            CardError: File and card do not go together.
            DeviceError: Another device than the CPU, or another precision than the graph's, is asked for.
        """
        if device not in {"auto", "cpu"}:
            raise DeviceError(
                f"{card.name} is an ONNX file, which runs on the CPU here, not on {device!r}: use auto or cpu"
            )
        path = card_path.with_name(card.weights.file)
        data = read_checked(path, sha256=card.weights.sha256)
        loaded = cls(read_graph(path, data, threads=torch.get_num_threads()), card)
        if precision not in {"auto", loaded.dtype}:
            raise DeviceError(
                f"the ONNX file of {card.name} computes in {loaded.dtype}, as it was exported, not in "
                f"{precision}: leave the precision out, or at auto"
            )
        return loaded

    @property
    def _white(self) -> float:
        return 1.0 if self._graph.values == "0..1" else 255.0

    def encode_context(self, image: Tensor, windows: ContextWindows | None) -> ContextImages:
        """Keep the context of a patch, or cut each slice's window out of it, at the graph's size."""
        port = self._ports.context
        if port is None:
            raise InputError("the graph takes no context")
        if windows is None:
            return ContextImages(self._sized(image), WHOLE)
        if self._ports.context_boxes is not None:
            return ContextImages(self._sized(image), windows.boxes)
        side, count = windows.side_px, len(windows.boxes)
        own = crop_at(image.expand(count, -1, -1, -1), windows.boxes, (side, side))
        return ContextImages(self._sized(own), windows.boxes)

    def _sized(self, images: Tensor) -> Tensor:
        """Return context images at the size that the graph fixes, if it does: a few px of difference."""
        side = self._ports.context_side
        if side is None or side == images.shape[-1]:
            return images
        return F.interpolate(images, size=(side, side), mode="bilinear", antialias=True, align_corners=False)

    def logits(
        self,
        windows: Tensor,
        context: EncodedContext | None,
        boxes: Tensor,
        margin: int = 0,  # noqa: ARG002  (a graph computes all it computes)
    ) -> Tensor:
        """Compute the logits of windows; graphs of a fixed size get them in overlapping pieces."""
        if context is not None and not isinstance(context, ContextImages):
            raise InputError(f"a {type(context).__name__} is of another back end")
        side, fixed = windows.shape[-1], self._ports.window_side
        if fixed is None or fixed == side:
            return self._decoded(self._in_passes(windows, context, boxes), side)
        if context is not None:
            raise InputError(
                f"the graph takes windows of {fixed} px only, and this slide's scale needs {side} px. Export "
                "it with a dynamic height and width."
            )
        pieces, starts = cut(windows, fixed)
        logits = self._decoded(self._in_passes(pieces, None, boxes), fixed)
        return stitch(logits, starts, side=fixed, width=side)

    def _in_passes(
        self, windows: Tensor, context: ContextImages | None, boxes: Tensor
    ) -> NDArray[np.generic]:
        """Run the graph on all windows; in passes of the size that the graph fixes, if it does."""
        count = len(windows)
        size = self._ports.batch or count
        passes = []
        for start in range(0, count, size):
            rows = torch.arange(start, start + size).clamp(max=count - 1)
            feed = {self._ports.window.name: self._image_array(windows[rows], self._ports.window.dtype)}
            if context is not None:
                feed |= self._context_feed(context, boxes, rows)
            passes.append(self._session.run(feed, self._ports.output.name)[: count - start])
        return np.concatenate(passes)

    def _context_feed(
        self, context: ContextImages, boxes: Tensor, rows: Tensor
    ) -> dict[str, NDArray[np.generic]]:
        """Return what the graph takes beside the windows `rows`: context, and places in it."""
        ports = self._ports
        assert ports.context is not None
        shared = torch.zeros(1 if ports.shares_context else len(rows), dtype=torch.long)
        images = context.images[rows if context.are_cut else shared]
        feed = {ports.context.name: self._image_array(images, ports.context.dtype)}
        places = context.places.expand(len(boxes), -1)
        if ports.context_boxes is not None:
            feed[ports.context_boxes.name] = places[rows].numpy()
        if ports.boxes is not None:
            own = boxes if ports.context_boxes is not None else _within(boxes, places)
            feed[ports.boxes.name] = own[rows].numpy()
        return feed

    def _image_array(self, images: Tensor, dtype: str) -> NDArray[np.generic]:
        """Return images as the graph wants them."""
        images = images.round().to(torch.uint8) if dtype == "uint8" else self._normalise(images)
        if self._graph.channels == "BGR":
            images = images.flip(1)
        if self._graph.layout == "NHWC":
            images = images.permute(0, 2, 3, 1)
        array: NDArray[np.generic] = images.contiguous().numpy()
        return array.astype(dtype, copy=False)

    def _decoded(self, output: NDArray[np.generic], side: int) -> Tensor:
        """Return float32 logits (N, K, h, w) of what the graph put out.

        Raises:
            InputError: It is not what the card says.
        """
        scores = torch.from_numpy(output)
        if self._graph.output == "labels":
            return _one_hot(scores, self._classes, axis=1 if self._graph.layout == "NCHW" else 3)
        if scores.ndim == 4 and self._graph.layout == "NHWC":
            scores = scores.permute(0, 3, 1, 2)
        single = scores.ndim == 4 and scores.shape[1] == 1 and self._classes == 2
        if scores.ndim != 4 or not (single or scores.shape[1] == self._classes):
            raise InputError(
                f"the graph gives {tuple(output.shape)} for windows of {side} px; the card has "
                f"{self._classes} classes, so (N, {self._classes}, height, width) was expected"
            )
        scores = scores.float().contiguous()
        if self._graph.output == "softmax" or (self._graph.output == "sigmoid" and not single):
            return scores.clamp_min(SMALLEST).log()
        if self._graph.output == "sigmoid":
            scores = torch.logit(scores, SMALLEST)
        return torch.cat([torch.zeros_like(scores), scores], 1) if single else scores


def _within(boxes: Tensor, places: Tensor) -> Tensor:
    """Return boxes that are fractions of a field as fractions of each slice's own window in it."""
    corner, size = places[:, :2], places[:, 2:] - places[:, :2]
    return (boxes - corner.repeat(1, 2)) / size.repeat(1, 2)


def _one_hot(labels: Tensor, classes: int, *, axis: int) -> Tensor:
    """Return scores (N, K, h, w) that are 1 for the class of labels (N, h, w) from 0 on, else 0.

    Labels may have an axis of one channel.

    Raises:
        InputError: A label is no class.
    """
    labels = labels.squeeze(axis) if labels.ndim == 4 else labels
    if labels.ndim != 3 or labels.min() < 0 or labels.max() >= classes:
        raise InputError(
            f"the graph gives labels {tuple(labels.shape)} of {labels.min():g} to {labels.max():g}; the card "
            f"has {classes} classes, so (N, height, width) of 0 to {classes - 1} was expected"
        )
    return F.one_hot(labels.long(), classes).permute(0, 3, 1, 2).float()
