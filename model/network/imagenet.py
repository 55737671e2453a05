"""Load published ImageNet ResNet checkpoints (torchvision, timm) into the encoders."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import nn

from ..card import Normalisation
from ..errors import WeightsError
from ..hub import HUB_PREFIX, hub_file
from .da_refinenet import DaRefineNet

IMAGENET_COLOURS = Normalisation(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
"""Normalisation these checkpoints were trained with; the card of a network that starts from them should hold
it."""

HUB_FILE = "model.safetensors"
"""Name of the weights file in each of timm's repositories on the hub."""

HEADS = ("fc.", "classifier.")
"""Prefixes of the ImageNet classifier's names; segmentation does not use it."""


def load_imagenet(network: nn.Module, source: str, *, context_source: str | None = None) -> None:
    """Load ImageNet weights into the encoders of a network of `encoder_width` 64, in place.

    A source is a torchvision or timm ResNet state dict: a .pth or .safetensors file, or a name on the Hugging
    Face hub such as "hf-hub:timm/resnet50.a1_in1k" (needs the extra `hub`; kept in its cache, so that a
    second time works offline). `context_source` is for the context encoder; None takes `source`, which fits
    when both encoders have the same depth. The head is left out; every other name and shape must match.

    Raises:
        WeightsError: A name or shape does not match (the network may then hold some of the weights), a source
            cannot be read, or the network has no ResNet.
    """
    if not isinstance(network, DaRefineNet):
        raise WeightsError(
            f"a {type(network).__name__} has no ResNet to load ImageNet weights into; "
            "train it from first weights"
        )
    _load_encoder(network.encoder, source, "slice encoder")
    if network.second_input != "single":
        _load_encoder(network.context_encoder, context_source or source, "context encoder")


def _load_encoder(encoder: nn.Module, source: str, role: str) -> None:
    tensors = _read_state_dict(source)
    state = {name: tensor for name, tensor in tensors.items() if not name.startswith(HEADS)}
    try:
        encoder.load_state_dict(state)
    except RuntimeError as error:
        raise WeightsError(
            f"{source} does not fit the {role}. It must be a plain ResNet (torchvision, timm) of the same "
            f"depth, at encoder_width 64; encoders of two depths need two sources. {error}"
        ) from error


def _read_state_dict(source: str) -> Mapping[str, Any]:
    """Read the state dict at `source` to the CPU."""
    path = (
        hub_file(source.removeprefix(HUB_PREFIX), HUB_FILE) if source.startswith(HUB_PREFIX) else Path(source)
    )
    try:
        if path.suffix == ".safetensors":
            return safetensors.torch.load_file(path)
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (
        Exception
    ) as error:  # torch's unpickler raises whatever a file that is no checkpoint makes it stumble over
        raise WeightsError(
            f"cannot read ImageNet weights from {source} ({type(error).__name__}: {error}). Name a "
            f".safetensors file, a .pth file that holds a plain state dict, or "
            f"{HUB_PREFIX}timm/resnet50.a1_in1k or the like."
        ) from error
    if not isinstance(tensors, Mapping):
        raise WeightsError(f"{source} holds a {type(tensors).__name__}, not a state dict (name -> tensor)")
    return tensors
