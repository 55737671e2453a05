"""Compute a network with torch: folded, on its device, in its precision."""

import copy

import torch
from torch import Tensor

from ..card import Normalisation
from ..errors import InputError
from ..network.base import ContextFeatures, ContextWindows, SegmentationNetwork
from ..network.encoder import fold_batch_norms
from ..network.onednn import use_onednn
from .backend import EncodedContext
from .batching import with_second_try
from .compile import check_compiler, compile_network
from .device import PRECISIONS, choose_device, choose_precision
from .preprocess import Normaliser


class TorchBackend:
    """Back end that computes in torch, with a copy of the network, so that one in training can be used."""

    name = "torch"

    def __init__(
        self,
        network: SegmentationNetwork,
        normalisation: Normalisation,
        *,
        device: str = "auto",
        precision: str = "auto",
        compiled: bool = False,
    ) -> None:
        """Fold, move and convert a copy of `network`; `compiled`: see compile_network.

        Raises:
            DeviceError: The device or precision is not to be had here, or nothing can be compiled.
        """
        self.device = choose_device(device)
        self.dtype = choose_precision(precision, self.device)
        self.compiled = compiled
        self.network = copy.deepcopy(network).eval()
        fold_batch_norms(self.network)
        with_second_try(lambda: self.network.to(self.device, PRECISIONS[self.dtype]), self.device)
        self.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # not in the stubs
        if compiled:
            check_compiler(self.device)
            compile_network(self.network)
        elif self.device.type == "cpu":
            use_onednn(self.network)
        self.logit_px = self.network.logit_px
        self._normalise = Normaliser(normalisation, self.device)

    @property
    def batch_matters(self) -> bool:
        """Whether labels may depend on the batch: not on a CPU; docs/decisions/0015 says how far on a GPU."""
        return self.device.type != "cpu"

    def encode_context(self, image: Tensor, windows: ContextWindows | None) -> ContextFeatures:
        """Encode the context of a patch, once for all its slices; see `Backend`."""
        image = self._input(image)
        # Without windows the call has one argument: a compiled network is compiled for that.
        return self.network.encode_context(image, *(() if windows is None else (windows,)))

    def logits(
        self, windows: Tensor, context: EncodedContext | None, boxes: Tensor, margin: int = 0
    ) -> Tensor:
        """Compute the logits of windows, at the network's own size; see `Backend`."""
        if context is not None and not isinstance(context, ContextFeatures):
            raise InputError(f"a {type(context).__name__} is of another back end")
        # Without a margin the call has no such argument: not every network takes one.
        further = (margin,) if margin else ()
        logits: Tensor = self.network(self._input(windows), context, boxes, *further)
        return logits.float().contiguous()

    def _input(self, images: Tensor) -> Tensor:
        return self._normalise(images).to(PRECISIONS[self.dtype])
