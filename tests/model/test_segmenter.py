"""Patch pixels in, label maps out."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from model.build import build_network
from model.card import CardWeights, ModelCard, NetworkConfig, Normalisation
from model.checkpoint import save_weights
from model.errors import InputError, WeightsError
from model.initialise import initialise
from model.network import SegmentationNetwork
from model.preprocess import Normaliser, context_from_region
from model.segmenter import Segmenter

GEOMETRY = {"window_px": 64, "halo_px": 16, "slice_network_px": 64, "context_network_px": 32}
CORNERS = [(0, 0), (32, 0), (64, 32), (96, 96), (5, 7)]


@pytest.fixture
def network(card: ModelCard) -> SegmentationNetwork:
    return clear_network(card)


def clear_network(card: ModelCard) -> SegmentationNetwork:
    """A network whose classes are clearly apart and about equally frequent on noise."""
    network = build_network(card.network, 3)
    initialise(network, seed=3)
    noise, places = torch.randn(4, 3, 64, 64), torch.tensor([[0.2, 0.2, 0.6, 0.6]]).expand(4, -1)
    network(noise, noise[:2], places)
    with torch.no_grad():
        network.eval()
        network.classify.weight.mul_(1000)
        assert network.classify.bias is not None
        network.classify.bias.sub_(network(noise, noise[:2], places).mean((0, 2, 3)))
    return network.train()


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)


def segmenter_of(network: SegmentationNetwork, card: ModelCard, **arguments: Any) -> Segmenter:
    return Segmenter(network, card, device="cpu", precision="fp32", **arguments)


def logits_by_hand(
    network: SegmentationNetwork, card: ModelCard, pixels: NDArray[np.uint8], corner: tuple[int, int]
) -> torch.Tensor:
    """The documented steps for one window, one after another, with the unfolded network."""
    normalise = Normaliser(card.normalisation, torch.device("cpu"))
    x, y = corner
    window = torch.from_numpy(pixels[y : y + 64, x : x + 64].copy()).permute(2, 0, 1)[None]
    with torch.no_grad():
        context = normalise(context_from_region(torch.from_numpy(pixels), 32))
        places = torch.tensor([[x, y, x + 64, y + 64]]) / 160
        logits = network.eval()(normalise(window), context, places)
        return F.interpolate(logits, size=(64, 64), mode="bilinear")[0, :, 16:48, 16:48]


UNET = NetworkConfig(architecture="unet", encoder_width=8, second_input="single")


@pytest.mark.parametrize("changes", [{}, {"second_input": "aligned"}, {"second_input": "single"}, None])
def test_labels_are_the_likeliest_class_of_each_window_centre(
    card: ModelCard, pixels: NDArray[np.uint8], changes: dict[str, Any] | None
) -> None:
    card = replace(card, network=UNET if changes is None else replace(card.network, **changes))
    network = clear_network(card)
    labels = segmenter_of(network, card, batch_size=2).label_patch(pixels, CORNERS, **GEOMETRY)
    assert labels.shape == (5, 32, 32)
    assert labels.dtype == np.uint8
    for corner, tile in zip(CORNERS, labels, strict=True):
        logits = logits_by_hand(network, card, pixels, corner)
        expected = logits.argmax(0).numpy() + 1
        # Folding batch norms moves logits in the last digits: only near ties may fall the other way.
        top = logits.topk(2, 0).values
        clear = (top[0] - top[1]).numpy() > 1e-4
        assert clear.mean() > 0.95
        np.testing.assert_array_equal(tile[clear], expected[clear])
    assert len(np.unique(labels)) > 1


def test_the_same_call_gives_the_same_labels_and_leaves_the_network_alone(
    network: SegmentationNetwork, card: ModelCard, pixels: NDArray[np.uint8]
) -> None:
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    segmenter = segmenter_of(network, card)
    first = segmenter.label_patch(pixels, CORNERS, **GEOMETRY)
    np.testing.assert_array_equal(segmenter.label_patch(pixels, CORNERS, **GEOMETRY), first)
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


def test_windows_are_resampled_when_the_network_reads_another_scale(
    network: SegmentationNetwork, card: ModelCard, pixels: NDArray[np.uint8]
) -> None:
    segmenter = segmenter_of(network, card)
    for side in (32, 96):
        labels = segmenter.label_patch(pixels, CORNERS, **{**GEOMETRY, "slice_network_px": side})
        assert labels.shape == (5, 32, 32)
        assert set(np.unique(labels)) <= {1, 2, 3}


class ColourReader(torch.nn.Module):
    """Stands in for a network: the logits are red, green and blue at a quarter of the size."""

    def forward(self, images: torch.Tensor, context: None, places: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(images, 4)


class PlaceKeeper(torch.nn.Module):
    """Stands in for a network: keeps the places it is told."""

    places: torch.Tensor

    def forward(self, images: torch.Tensor, context: None, places: torch.Tensor) -> torch.Tensor:
        type(self).places = places
        return F.avg_pool2d(images, 4)


def test_a_network_is_told_where_in_the_region_each_window_lies(card: ModelCard) -> None:
    card = replace(card, network=replace(card.network, second_input="single"))
    wide = np.zeros((160, 320, 3), np.uint8)
    segmenter_of(PlaceKeeper(), card).label_patch(wide, [(0, 96), (160, 16)], **GEOMETRY)  # type: ignore[arg-type]
    expected = torch.tensor([[0, 0.6, 0.2, 1.0], [0.5, 0.1, 0.7, 0.5]])
    torch.testing.assert_close(PlaceKeeper.places, expected)


@pytest.mark.parametrize("side", [96, 64, 48, 160])
@pytest.mark.parametrize("across", [True, False])
def test_borders_stay_where_they_are_at_every_scale(card: ModelCard, side: int, across: bool) -> None:
    border_px = 75
    pixels = np.zeros((160, 160, 3), np.uint8)
    pixels[:, :border_px, 0] = pixels[:, border_px:, 1] = 255  # red left of the border, green right of it
    corners = [(54, 8), (27, 40), (0, 64)]  # the border 21, 48 and 75 px into the window
    grey = Normalisation(mean=(0.5, 0.5, 0.5), std=(0.5, 0.5, 0.5))
    card = replace(card, normalisation=grey, network=replace(card.network, second_input="single"))
    segmenter = segmenter_of(ColourReader(), card)  # type: ignore[arg-type]
    geometry = {"window_px": 96, "halo_px": 16, "slice_network_px": side, "context_network_px": 32}

    labels = segmenter.label_patch(
        pixels if across else pixels.transpose(1, 0, 2),
        corners if across else [(y, x) for x, y in corners],
        **geometry,
    )

    for (x, _), tile in zip(corners, labels if across else labels.transpose(0, 2, 1), strict=True):
        expected_px = border_px - x - 16
        assert (np.abs((tile == 1).sum(1) - expected_px) <= 1).all()
        assert (tile[:, : expected_px - 1] == 1).all()
        assert (tile[:, expected_px + 1 :] == 2).all()


def test_a_flat_slide_looks_alike_at_every_scale(network: SegmentationNetwork, card: ModelCard) -> None:
    flat = np.full((160, 160, 3), 200, np.uint8)
    segmenter = segmenter_of(network, card)
    same = segmenter.label_patch(flat, [(40, 40)], **GEOMETRY)
    assert same.shape == (1, 32, 32)
    assert (segmenter.label_patch(flat, [(0, 0)], **GEOMETRY) == same).all()


def test_read_only_and_strided_pixels_are_taken(
    network: SegmentationNetwork, card: ModelCard, pixels: NDArray[np.uint8]
) -> None:
    segmenter = segmenter_of(network, card)
    expected = segmenter.label_patch(pixels, CORNERS, **GEOMETRY)
    wide = np.concatenate([pixels, pixels], axis=1)[:, :160]
    wide.flags.writeable = False
    np.testing.assert_array_equal(segmenter.label_patch(wide, CORNERS, **GEOMETRY), expected)


def test_no_window_gives_no_label(
    network: SegmentationNetwork, card: ModelCard, pixels: NDArray[np.uint8]
) -> None:
    assert segmenter_of(network, card).label_patch(pixels, [], **GEOMETRY).shape == (0, 32, 32)


@pytest.mark.parametrize("corner", [(-1, 0), (0, 97)])
def test_a_window_outside_the_region_is_refused(
    network: SegmentationNetwork, card: ModelCard, pixels: NDArray[np.uint8], corner: tuple[int, int]
) -> None:
    with pytest.raises(InputError, match="outside the region"):
        segmenter_of(network, card).label_patch(pixels, [corner], **GEOMETRY)


def test_pixels_of_another_type_are_refused(network: SegmentationNetwork, card: ModelCard) -> None:
    with pytest.raises(InputError, match="uint8"):
        segmenter_of(network, card).label_patch(np.zeros((160, 160, 3)), CORNERS, **GEOMETRY)  # type: ignore[arg-type]


@pytest.mark.parametrize("second_input", ["single", "multi-size"])
def test_networks_without_a_patch_context_segment_too(
    card: ModelCard, pixels: NDArray[np.uint8], second_input: Any
) -> None:
    card = replace(card, network=replace(card.network, second_input=second_input))
    segmenter = segmenter_of(build_network(card.network, 3), card)
    assert segmenter.label_patch(pixels, CORNERS, **GEOMETRY).shape == (5, 32, 32)


def saved(network: SegmentationNetwork, card: ModelCard, folder: Path) -> Path:
    sha256 = save_weights(network, folder / "tiny.safetensors", "float32")
    replace(card, weights=CardWeights("tiny.safetensors", sha256, "float32")).save(folder / "tiny.json")
    return folder / "tiny.json"


def test_a_saved_model_labels_as_the_network_it_was(
    network: SegmentationNetwork, card: ModelCard, pixels: NDArray[np.uint8], tmp_path: Path
) -> None:
    loaded = Segmenter.load(saved(network, card, tmp_path), device="cpu", precision="fp32")
    assert (loaded.device, loaded.dtype, loaded.card.name) == ("cpu", "fp32", "tiny")
    expected = segmenter_of(network, card).label_patch(pixels, CORNERS, **GEOMETRY)
    np.testing.assert_array_equal(loaded.label_patch(pixels, CORNERS, **GEOMETRY), expected)


def test_weights_that_are_not_the_cards_are_refused(
    network: SegmentationNetwork, card: ModelCard, tmp_path: Path
) -> None:
    path = saved(network, card, tmp_path)
    data = json.loads(path.read_text())
    data["weights"]["sha256"] = "1" * 64
    path.write_text(json.dumps(data))
    with pytest.raises(WeightsError, match="another card"):
        Segmenter.load(path)


def test_the_weights_in_the_repository_load() -> None:
    cards = sorted((Path(__file__).parents[2] / "weights").glob("*.json"))
    assert cards
    for path in cards:
        Segmenter.load(path, device="cpu")
