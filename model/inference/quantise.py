"""Quantise a network to int8 with OpenVINO and NNCF, and check that its labels are those of fp32."""

import contextlib
import importlib
import io
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from wsi.patch_view import PatchView

from ..card import ModelCard
from ..errors import CardError, DeviceError
from ..network.base import ContextFeatures, ContextWindows, SegmentationNetwork
from ..network.build import build_network
from ..weights import load_weights
from .backend import EncodedContext
from .int8_graph import Int8Files, Int8Report
from .openvino_backend import CPU, OpenVinoBackend
from .openvino_runtime import Arrays, cpu_has_vnni, numbered, openvino_package, without_telemetry
from .segmenter import Segmenter

Step = Callable[[str, float], None]
"""Told the name of what is done and how far it is, 0..1."""


LEFT_OPERATIONS = ("MatMul", "Add", "MaxPool")
"""Operations that are not quantised, by OpenVINO's names.

The rounding of sums and pools adds up along the decoder, and they are no faster in int8. Attention weights
are a few products of single vectors.
"""

LEFT_LAYERS = (r"encoder\.conv1", r"encoder\.layer1", "classify")
"""Layers of a DA-RefineNet that are not quantised, as patterns of their names.

The first see the colours, the last decides; little of the arithmetic is theirs.
"""


@dataclass(frozen=True, slots=True, eq=False)
class SamplePatch:
    """Patch to calibrate or to compare on: some of its slices."""

    region: NDArray[np.uint8]
    """(H, W, 3) RGB of the view's region."""
    view: PatchView
    context: NDArray[np.uint8] | None
    """See `Segmenter.submit`."""
    tissue: NDArray[np.bool_]
    """(N, slice_px, slice_px): which pixels of the slices count."""


def quantise(
    card_path: Path,
    calibration: Sequence[SamplePatch],
    check: Sequence[SamplePatch],
    folder: Path,
    *,
    slides: int,
    keep_refused: bool = False,
    step: Step = lambda _what, _share: None,
) -> Int8Report:
    """Quantise the network of a card, compare its labels with fp32, and keep it in `folder` (`Int8Files`).

    The same patches, software and CPU give the same files. Of a network whose labels differ too much only
    the report is kept, or with `keep_refused`, to time it, the network too. `calibration` shows the range of
    values in it, on `check` labels are compared, `slides` is how many slides these are of. Memory: the
    network's inputs for all slices of `calibration`, beside what labelling takes.

    Raises:
        ModelError: Card or weights cannot be read or quantised, or OpenVINO or NNCF is not installed.
    """
    packages = openvino_package(), nncf_package()
    card, network = _loaded(card_path)
    step("calibrate", 0.0)
    recorder = _recorded(network, card, calibration)
    expected = _labels(Segmenter(network, card, device="cpu", precision="fp32"), check)
    step("quantise", 0.5)
    with tempfile.TemporaryDirectory() as temporary:
        graph = _write_quantised(recorder, Path(temporary), packages)
        step("compare", 0.8)
        found = _labels(Segmenter(_in_int8(network, card, graph), card), check)
        report = Int8Report(
            weights_sha256=card.weights.sha256,
            graph_sha256=graph.sha256(),
            **_computed_by(packages),
            slides=slides,
            calibration_slices=len(recorder.inputs),
            **_compared(expected, found, check),
        )
        Int8Files.of(folder, card).keep(graph, report, anyway=keep_refused)
    return report


def _loaded(card_path: Path) -> tuple[ModelCard, SegmentationNetwork]:
    """Return a card that can be quantised, and its network with its weights."""
    card = ModelCard.load(card_path)
    _check_kind(card)
    network = build_network(card.network, len(card.classes))
    load_weights(network, card_path.with_name(card.weights.file), sha256=card.weights.sha256)
    return card, network


def _computed_by(packages: tuple[Any, ...]) -> dict[str, Any]:
    """Return the software and the CPU's kind, as in Int8Report."""
    versions = {**{own.__name__: own.__version__ for own in packages}, "torch": torch.__version__}
    return {"versions": versions, "vnni": cpu_has_vnni()}


def nncf_package() -> Any:
    """Import nncf, which the extra "quantise" installs, without its telemetry.

    Raises:
        DeviceError: It is not installed.
    """
    try:
        with without_telemetry():
            package = importlib.import_module("nncf")
    except ModuleNotFoundError as error:
        raise DeviceError(
            f"quantising needs {error.name}, which is not installed: pip install 'darefine[quantise]'. "
            "Machines that run what is quantised do without it."
        ) from error
    # Not by nncf.set_log_level, which sets the handlers too, and others may have put theirs there.
    logging.getLogger("nncf").setLevel(logging.ERROR)
    return package


def _check_kind(card: ModelCard) -> None:
    if card.network.architecture == "onnx":
        raise CardError(f"{card.name} is an ONNX file, which computes in its own format; it stays as it is")
    if card.network.second_input == "multi-size":
        # Its second input is resized as the traced window is.
        raise CardError(f"{card.name} is multi-size, which cannot be quantised; single, dual and aligned can")


def _recorded(network: SegmentationNetwork, card: ModelCard, patches: Sequence[SamplePatch]) -> "_Recorder":
    """Return the inputs of a network's graph for patches."""
    recorder = _Recorder(OpenVinoBackend(network, card.normalisation, precision="fp32"), len(card.classes))
    _labels(Segmenter(recorder, card), patches)
    return recorder


def _in_int8(network: SegmentationNetwork, card: ModelCard, graph: Int8Files) -> OpenVinoBackend:
    return OpenVinoBackend(
        network,
        card.normalisation,
        precision="int8",
        int8_model=graph.model_for(),
        int8_sha256=graph.sha256(),
    )


def _write_quantised(recorder: "_Recorder", folder: Path, packages: tuple[Any, Any]) -> Int8Files:
    """Write the quantised graph into `folder`."""
    openvino, nncf = packages
    files = Int8Files(*(folder / f"graph{suffix}" for suffix in (".xml", ".bin", ".json")))
    quantised = quantised_model(recorder.backend.model_for(recorder.inputs[0]), recorder.inputs, nncf)
    openvino.save_model(numbered(quantised), str(files.graph), compress_to_fp16=False)
    return files


def quantised_model(model: Any, inputs: Sequence[Arrays], nncf: Any) -> Any:
    """Return an OpenVINO model of a DA-RefineNet in int8, with scales from these inputs.

    `nncf` is the package (`nncf_package`). LEFT_OPERATIONS and LEFT_LAYERS stay as they are.
    """
    layers = [rf".*network\.{name}[./].*" for name in LEFT_LAYERS]
    with _silently():
        return nncf.quantize(
            model,
            nncf.Dataset(inputs),
            subset_size=len(inputs),
            preset=nncf.QuantizationPreset.MIXED,
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                # From the least to the largest value seen: a mean over slices would cut off the rare ones.
                activations_range_estimator_params=nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX,
                # Shifts each layer by its mean error, seen on few slices: of real tissue labels got worse.
                disable_bias_correction=True,
            ),
            ignored_scope=nncf.IgnoredScope(types=list(LEFT_OPERATIONS), patterns=layers, validate=False),
        )


@contextlib.contextmanager
def _silently() -> Iterator[None]:
    """Keep back the progress bars and warnings of NNCF."""
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _labels(segmenter: Segmenter, patches: Sequence[SamplePatch]) -> list[NDArray[np.uint8]]:
    return [segmenter.label_patch(patch.region, patch.view, context=patch.context) for patch in patches]


def _compared(
    expected: Sequence[NDArray[np.uint8]],
    found: Sequence[NDArray[np.uint8]],
    patches: Sequence[SamplePatch],
) -> dict[str, Any]:
    """Return how much was compared and the share of tissue with the same label, as in Int8Report."""
    slices = sum(len(patch.view.corners) for patch in patches)
    px = sum(int(np.count_nonzero(patch.tissue)) for patch in patches)
    same = sum(
        int(np.count_nonzero((ours == theirs) & patch.tissue))
        for ours, theirs, patch in zip(expected, found, patches, strict=True)
    )
    return {"checked_slices": slices, "checked_px": px, "agreement": round(same / px, 6) if px else 0.0}


class _Recorder:
    """Back end that keeps the inputs of its graph, and computes no slices."""

    name = "recorder"
    device = CPU
    dtype = "fp32"
    compiled = False
    logit_px: int | None = None
    batch_matters = False

    def __init__(self, backend: OpenVinoBackend, classes: int) -> None:
        self.backend = backend
        self.inputs: list[list[NDArray[np.float32]]] = []
        self._classes = classes

    def encode_context(self, image: Tensor, windows: ContextWindows | None) -> ContextFeatures:
        return self.backend.encode_context(image, windows)

    def logits(
        self,
        windows: Tensor,
        context: EncodedContext | None,
        boxes: Tensor,
        margin: int = 0,  # noqa: ARG002
    ) -> Tensor:
        self.inputs += self.backend.inputs_of(windows, context, boxes)
        return torch.zeros(len(windows), self._classes, windows.shape[2] // 4, windows.shape[3] // 4)
