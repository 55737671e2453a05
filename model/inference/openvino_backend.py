"""Compute a network with OpenVINO on the CPU: slices in int8, bf16 or fp32, the context in torch."""

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..card import Normalisation
from ..errors import DeviceError, InputError
from ..network.base import ContextFeatures, ContextWindows, SegmentationNetwork
from ..network.encoder import fold_batch_norms
from ..network.onednn import use_onednn
from .backend import EncodedContext
from .device import cpu_has_bf16
from .flat_network import FlatNetwork, flat_inputs
from .openvino_runtime import Arrays, CompiledGraph, converted, openvino_package, unquantised_precision
from .preprocess import Normaliser

CPU = torch.device("cpu")

PRECISIONS = ("fp32", "bf16", "int8")


class OpenVinoBackend:
    """Back end that computes slices with OpenVINO, one at a time, so that no label depends on batches.

    The context is encoded by torch in fp32, once a patch.
    """

    device = CPU
    compiled = False
    logit_px: int | None = None
    batch_matters = False

    def __init__(
        self,
        network: SegmentationNetwork,
        normalisation: Normalisation,
        *,
        precision: str = "auto",
        int8_model: Callable[[Arrays], Any] | None = None,
        int8_sha256: str = "",
    ) -> None:
        """Fold a copy of `network`; it is converted at the first pass of each size.

        Args:
            network: With its weights.
            normalisation: Of the network's card.
            precision: One of PRECISIONS; "auto" is bf16 where the CPU has it, else fp32.
            int8_model: Returns the quantised model for the shapes of its inputs; int8 needs it.
            int8_sha256: SHA-256 of the quantised model; part of the back end's name, as labels depend on it.

        Raises:
            DeviceError: OpenVINO is not installed, or the precision is not to be had.
        """
        self.dtype = choose_openvino_precision(precision)
        computed_in = unquantised_precision() if self.dtype == "int8" else self.dtype
        self.name = f"openvino {openvino_package().__version__.partition('-')[0]}"
        if self.dtype == "int8":
            if int8_model is None:
                raise DeviceError("int8 needs a network that is quantised: darefine models quantise makes it")
            self.name += f", int8 graph {int8_sha256[:12]}, rest in {computed_in}"
        self._network = copy.deepcopy(network).eval()
        fold_batch_norms(self._network)
        self._network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
        # What is traced must not have convolutions that OpenVINO does not know.
        self._of_contexts = _sharing_weights(self._network)
        use_onednn(self._of_contexts)
        self._normalisation = normalisation
        self._normalise = Normaliser(normalisation, CPU)
        self._like: ContextFeatures | None = None
        self._graph = CompiledGraph(
            int8_model if self.dtype == "int8" and int8_model else self.model_for,
            precision=computed_in,
            threads=torch.get_num_threads(),
        )

    def encode_context(self, image: Tensor, windows: ContextWindows | None) -> ContextFeatures:
        """Encode the context of a patch, once for all its slices; see `Backend`."""
        features = self._of_contexts.encode_context(
            self._normalise(image), *(() if windows is None else (windows,))
        )
        return _contiguous(features)

    def logits(
        self,
        windows: Tensor,
        context: EncodedContext | None,
        boxes: Tensor,
        margin: int = 0,  # noqa: ARG002  (`logit_px` says that there is none)
    ) -> Tensor:
        """Compute the logits of windows, one after another; see `Backend`."""
        passes = [self._graph.run(inputs) for inputs in self.inputs_of(windows, context, boxes)]
        return torch.from_numpy(np.concatenate(passes))

    def inputs_of(
        self, windows: Tensor, context: EncodedContext | None, boxes: Tensor
    ) -> list[list[NDArray[np.float32]]]:
        """Return the graph's inputs for each window of a pass; see `logits`."""
        if context is not None and not isinstance(context, ContextFeatures):
            raise InputError(f"a {type(context).__name__} is of another back end")
        if windows.shape[2] % 32 or windows.shape[3] % 32:
            raise InputError(f"windows must have sides that are multiples of 32, not {tuple(windows.shape)}")
        self._like = context
        return [
            [
                tensor.float().contiguous().numpy()
                for tensor in flat_inputs(windows[number : number + 1], context, boxes, number)
            ]
            for number in range(len(windows))
        ]

    def model_for(self, inputs: Arrays) -> Any:
        """Return the network as an OpenVINO model in fp32, for these inputs, which are of the last pass."""
        flat = FlatNetwork(self._network, self._normalisation, self._like)
        return converted(flat, [torch.from_numpy(array) for array in inputs])


def choose_openvino_precision(name: str) -> str:
    """Return one of PRECISIONS for a name; "auto" is bf16 where the CPU has it, else fp32.

    Raises:
        DeviceError: OpenVINO does not compute in it here.
    """
    if name == "auto":
        return "bf16" if cpu_has_bf16() else "fp32"
    if name not in PRECISIONS:
        raise DeviceError(f"OpenVINO does not compute in {name!r} here; use auto or {', '.join(PRECISIONS)}")
    return name


def _sharing_weights(network: SegmentationNetwork) -> SegmentationNetwork:
    """Return a copy of a network that has the same tensors."""
    return copy.deepcopy(network, {id(own): own for own in (*network.parameters(), *network.buffers())})


def _contiguous(features: ContextFeatures) -> ContextFeatures:
    """Return features as graphs take them, so that no pass has to copy them."""
    return replace(
        features,
        coarse=features.coarse.contiguous(),
        maps=tuple(own.contiguous() for own in features.maps),
        aligned=tuple(own.contiguous() for own in features.aligned),
    )
