"""Model card of a tiny network of random weights with the demo's classes."""

from dataclasses import replace
from pathlib import Path

from model.card import CardWeights, ModelCard, NetworkConfig
from model.network.build import build_network
from model.network.init import initialise
from model.weights import save_weights
from tests import WEIGHTS
from wsi.grid import InputGeometry

DEMO = WEIGHTS / "phantom-resnet18-centred.json"


def write_tiny_card(folder: Path, *, mpp: float) -> Path:
    """Write card and weights; a patch is one tile, with a halo of 16 px."""
    network = NetworkConfig(encoder_depth=18, encoder_width=8, context_depth=18, decoder_width=8)
    built = build_network(network, 4)
    initialise(built, 1)
    sha256 = save_weights(built, folder / "tiny.safetensors", "float16")
    card = replace(
        ModelCard.load(DEMO),
        name="tiny",
        network=network,
        input=InputGeometry(mpp, 5, 1, 16),
        weights=CardWeights("tiny.safetensors", sha256, "float16"),
        calibration=None,
    )
    card.save(folder / "tiny.json")
    return folder / "tiny.json"
