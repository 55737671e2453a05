"""Model cards of the paper's networks with random weights, for timing."""

import shutil
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn

from model.card import UNWRITTEN, CardWeights, ModelCard, NetworkConfig, Normalisation
from model.network.build import build_network
from model.network.imagenet import IMAGENET_COLOURS
from model.network.init import initialise
from model.network.zoo import NETWORKS
from model.weights import save_weights
from wsi.grid import InputGeometry
from wsi.palette import LabelClass

SEED = 11
"""Seed of the random weights."""


def card_of(network: str) -> ModelCard:
    """Return a card of one of NETWORKS with the paper's classes and geometry, without weights."""
    return ModelCard(
        name=network,
        version="0",
        title=network,
        description="For timing.",
        intended_use="Timing.",
        phantom=True,
        classes=tuple(LabelClass(value, f"class {value}", (0, 0, value)) for value in (1, 2, 3, 4)),
        input=InputGeometry(mpp=0.934, context_ratio=5, slices_per_side=5, halo_px=64),
        normalisation=IMAGENET_COLOURS,
        network=NETWORKS[network].config,
        weights=UNWRITTEN,
    )


def write_patch_card(card: Path, folder: Path) -> Path:
    """Write a copy of a card whose context is the patch, with its weights, into `folder`; return its path."""
    model = ModelCard.load(card)
    shutil.copy(card.with_name(model.weights.file), folder)
    path = folder / card.name
    replace(model, input=replace(model.input, context="patch")).save(path)
    return path


def write_card(network: str, folder: Path) -> Path:
    """Write such a card with random weights into `folder`, if it is not there, and return its path."""
    draft = card_of(network)
    path = folder / f"{draft.name}.json"
    if not path.exists():
        built = build_network(draft.network, len(draft.classes))
        initialise(built, SEED)
        _save(draft, built, path)
    return path


def write_tiny_card(folder: Path) -> Path:
    """Write the card of a network of 0.4 million random weights into `folder` and return its path.

    Its labels mean nothing but are always the same, and everything around the network takes longer than it.
    """
    draft = replace(
        card_of("resnet50-50-attention"),
        name="tiny",
        title="Random weights",
        input=InputGeometry(mpp=0.934, context_ratio=5, slices_per_side=5, halo_px=16),
        normalisation=Normalisation((0.7, 0.5, 0.7), (0.2, 0.2, 0.2)),
        network=NetworkConfig(encoder_depth=18, context_depth=18, encoder_width=8, decoder_width=8),
    )
    torch.manual_seed(0)
    path = folder / "tiny.json"
    _save(draft, build_network(draft.network, len(draft.classes)), path)
    return path


def _save(draft: ModelCard, network: nn.Module, path: Path) -> None:
    """Write weights, and their card beside them."""
    weights = path.with_suffix(".safetensors")
    digest = save_weights(network, weights)
    replace(draft, weights=CardWeights(weights.name, digest, "float16")).save(path)
