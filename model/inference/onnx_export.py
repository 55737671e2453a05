"""Export a network of ours as an ONNX file that other programs can run."""

import hashlib
import importlib
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from wsi.atomic import atomic_file
from wsi.geometry import Size
from wsi.grid import make_grid
from wsi.log_setup import only_errors_of

from ..card import CardWeights, ModelCard, NetworkConfig, Normalisation
from ..errors import CardError, WeightsError
from ..model_folder import finish_model_folder
from ..network.base import ContextWindows, SegmentationNetwork
from ..network.build import build_network
from ..network.encoder import fold_batch_norms
from ..onnx_graph import OnnxGraph
from ..weights import load_weights
from .onnx_session import read_graph

ONNX_FILE = "model.onnx"

NOMINAL_SIZE = Size(100_000, 100_000)

TOLERANCE = 1e-3
"""Largest difference between the logits of torch and of ONNX Runtime, as a share of the largest logit."""

TALKATIVE = ("torch.onnx", "onnxscript", "onnx_ir")
"""Loggers of the exporter."""

OPSET = 18
"""Version of ONNX's operators in exported files; the first with all that is needed, and widely read."""


class OnnxNetwork(nn.Module):
    """A network as others run it: RGB pixels of 0..255 in, logits at the window's pixels out."""

    def __init__(self, network: SegmentationNetwork, card: ModelCard) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("pixel_mean", torch.tensor(card.normalisation.mean).view(1, 3, 1, 1) * 255)
        self.register_buffer("pixel_scale", 1 / (torch.tensor(card.normalisation.std).view(1, 3, 1, 1) * 255))
        view = make_grid(NOMINAL_SIZE, card.input.mpp, card.input).patch_view(0, ((0, 0),))
        self.context_window_px = view.context_window_network_px if view.context_windows else None

    def forward(
        self,
        window: Tensor,
        context: Tensor | None = None,
        boxes: Tensor | None = None,
        context_boxes: Tensor | None = None,
    ) -> Tensor:
        """Map windows (N, 3, H, W), and what else the network sees, to logits (N, K, H, W)."""
        seen = None
        if context is not None:
            windows = None
            if context_boxes is not None:
                assert self.context_window_px is not None
                windows = ContextWindows(context_boxes, self.context_window_px)
            seen = self.network.encode_context(self._normalised(context), windows)
        logits = self.network(self._normalised(window), seen, boxes)
        return F.interpolate(logits, size=window.shape[2:], mode="bilinear", align_corners=False)

    def _normalised(self, pixels: Tensor) -> Tensor:
        assert isinstance(self.pixel_mean, Tensor)
        assert isinstance(self.pixel_scale, Tensor)
        return (pixels - self.pixel_mean) * self.pixel_scale


def export_onnx(card_path: Path, out: Path) -> None:
    """Write the network of a card as an ONNX file in float32, with all its weights.

    Its inputs are `window` (N, 3, H, W); for networks that see a context also `context` (1, 3, h, w), one for
    all windows of a pass; `boxes` (N, 4) for those that are told where in it a window lies; and
    `context_boxes` (N, 4) where each window sees its own part of it. N and all sides are free, sides
    multiples of 32. The output is `logits` (N, K, H, W). The file is run once and compared with torch.

    Raises:
        CardError: The card cannot be read, is that of an ONNX file already, or of a multi-size network.
        WeightsError: The weights cannot be read, the extra "onnx" is not installed, or the network cannot be
            written.
    """
    card = ModelCard.load(card_path)
    if card.network.second_input == "multi-size":
        # The pooling of its second input is traced for one size.
        raise CardError(f"{card.name} is multi-size, which cannot be written as ONNX; all others can")
    network = build_network(card.network, len(card.classes)).eval()
    load_weights(network, card_path.with_name(card.weights.file), sha256=card.weights.sha256)
    fold_batch_norms(network)
    try:
        importlib.import_module("onnxscript")
    except ModuleNotFoundError as error:
        raise WeightsError("the export needs onnxscript: pip install 'darefine[onnx]'") from error
    wrapped = OnnxNetwork(network, card).eval()
    try:
        _export(wrapped, card, out)
    except torch.onnx.OnnxExporterError as error:
        raise WeightsError(f"torch {torch.__version__} cannot write {card.name} as ONNX: {error}") from error
    _check_same(wrapped, card, out)


def export_onnx_folder(card_path: Path, out: Path) -> ModelCard:
    """Write a network as an ONNX file in a model folder, which is served as it is; return its card.

    The card is the network's, with "-onnx" behind its name.

    Raises:
        CardError: The card cannot be read, is that of an ONNX file already, or of a multi-size network.
        WeightsError: The weights cannot be read, or onnxscript is not installed.
    """
    card = ModelCard.load(card_path)
    out.mkdir(parents=True, exist_ok=True)
    with atomic_file(out / ONNX_FILE) as temporary:
        export_onnx(card_path, temporary)
        with temporary.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    second_input: Literal["dual", "single"] = "dual" if card.network.sees_patch else "single"
    exported = replace(
        card,
        name=f"{card.name}-onnx",
        network=NetworkConfig(architecture="onnx", second_input=second_input),
        normalisation=Normalisation((0.0, 0.0, 0.0), (1.0, 1.0, 1.0)),
        onnx=OnnxGraph(values="0..255"),
        weights=CardWeights(ONNX_FILE, digest, "float32"),
    )
    return finish_model_folder(exported, out)


def _export(network: nn.Module, card: ModelCard, out: Path) -> None:
    with quiet_exporter():
        program = torch.onnx.export(
            network,
            kwargs=_inputs(card, windows=2, window=Size(128, 96), context=Size(192, 160)),
            output_names=["logits"],
            dynamic_shapes=_free_axes(card),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    program.save(str(out), external_data=False)


def _check_same(network: nn.Module, card: ModelCard, written: Path) -> None:
    """Check that ONNX Runtime computes from the file what torch does, in other sizes than were traced."""
    inputs = _inputs(card, windows=3, window=Size(64, 160), context=Size(128, 224))
    session = read_graph(written, written.read_bytes(), threads=torch.get_num_threads())
    found = session.run({name: tensor.numpy() for name, tensor in inputs.items()}, "logits")
    with torch.inference_mode():
        expected = network(**inputs)
    difference = (torch.from_numpy(found) - expected).abs().max() / expected.abs().max()
    if difference > TOLERANCE:
        raise WeightsError(
            f"the graph of {card.name} does not compute what the network does: logits differ by "
            f"{difference:.2g} of the largest. Try another version of torch or onnxscript."
        )


@contextmanager
def quiet_exporter() -> Iterator[None]:
    """Keep back what the exporter tells of its own steps, and that torchvision is not installed."""
    with only_errors_of(*TALKATIVE), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _inputs(card: ModelCard, *, windows: int, window: Size, context: Size) -> dict[str, Tensor]:
    """Return noise for the inputs of a network's graph, and boxes; sizes are px of the images."""
    noise = torch.Generator().manual_seed(0)
    corners = torch.linspace(0.1, 0.5, windows).view(-1, 1)
    boxes = torch.cat([corners, corners / 2, corners + 0.3, corners / 2 + 0.4], 1)
    inputs = {"window": 255 * torch.rand(windows, 3, window.height, window.width, generator=noise)}
    if card.network.sees_patch:
        inputs["context"] = 255 * torch.rand(1, 3, context.height, context.width, generator=noise)
    if card.network.takes_boxes:
        inputs["boxes"] = boxes
    if card.input.context == "centred":
        inputs["context_boxes"] = boxes.clone()
    return inputs


def _free_axes(card: ModelCard) -> dict[str, dict[int, object]]:
    """Return the axes of each input that may have any length."""
    count, side = torch.export.Dim("windows"), torch.export.Dim
    free: dict[str, dict[int, object]] = {"window": {0: count, 2: 32 * side("height"), 3: 32 * side("width")}}
    if card.network.sees_patch:
        free["context"] = {2: 32 * side("context_height"), 3: 32 * side("context_width")}
    if card.network.takes_boxes:
        free["boxes"] = {0: count}
    if card.input.context == "centred":
        free["context_boxes"] = {0: count}
    return free
