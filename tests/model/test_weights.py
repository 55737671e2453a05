"""Weights on disk."""

from pathlib import Path

import pytest
import safetensors.torch
import torch

from model.card import ModelCard
from model.errors import WeightsError
from model.network.build import build_network
from model.network.init import initialise
from model.weights import load_weights, save_weights


@pytest.fixture
def network(card: ModelCard) -> torch.nn.Module:
    network = build_network(card.network, 3)
    initialise(network, seed=1)
    network(torch.randn(2, 3, 64, 64), torch.randn(1, 3, 64, 64))  # moves the batch-norm statistics
    return network


def test_weights_come_back_as_float32_rounded_to_half(
    network: torch.nn.Module, card: ModelCard, tmp_path: Path
) -> None:
    sha256 = save_weights(network, tmp_path / "w.safetensors", "float16")
    loaded = build_network(card.network, 3)
    load_weights(loaded, tmp_path / "w.safetensors", sha256=sha256)
    for name, tensor in network.state_dict().items():
        expected = tensor.half().float() if tensor.ndim > 1 else tensor
        torch.testing.assert_close(loaded.state_dict()[name], expected, rtol=0, atol=0, msg=name)


def test_half_precision_halves_the_file(network: torch.nn.Module, tmp_path: Path) -> None:
    save_weights(network, tmp_path / "half", "float16")
    save_weights(network, tmp_path / "full", "float32")
    assert (tmp_path / "half").stat().st_size < 0.65 * (tmp_path / "full").stat().st_size


def test_same_weights_give_the_same_hash(network: torch.nn.Module, tmp_path: Path) -> None:
    assert save_weights(network, tmp_path / "a") == save_weights(network, tmp_path / "b")


def test_a_file_that_is_not_the_cards_is_refused(network: torch.nn.Module, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    sha256 = save_weights(network, path)
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(WeightsError, match="damaged or belongs to another card"):
        load_weights(network, path, sha256=sha256)


def test_missing_foreign_and_unfitting_files_are_refused(network: torch.nn.Module, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="beside the card"):
        load_weights(network, tmp_path / "none")
    (tmp_path / "text").write_text("hello")
    with pytest.raises(WeightsError, match="not a safetensors file"):
        load_weights(network, tmp_path / "text")
    safetensors.torch.save_file({"other": torch.zeros(1)}, tmp_path / "other")
    with pytest.raises(WeightsError, match="does not fit"):
        load_weights(network, tmp_path / "other")
