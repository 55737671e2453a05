"""ImageNet checkpoints, made with the published names and shapes."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import safetensors.torch
import torch

from model.card import NetworkConfig
from model.errors import WeightsError
from model.network.build import build_network
from model.network.da_refinenet import DaRefineNet
from model.network.imagenet import load_imagenet

from ..published import resnet_checkpoint


def checkpoint(depth: int) -> dict[str, torch.Tensor]:
    """Half precision keeps the files small; every tensor holds its own place in the dict."""
    return {
        name: torch.full(shape, k, dtype=torch.float16 if shape else torch.int64)
        for k, (name, shape) in enumerate(resnet_checkpoint(depth).items())
    }


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("imagenet")
    torch.save(checkpoint(18), folder / "resnet18.pth")
    safetensors.torch.save_file(checkpoint(18), folder / "resnet18.safetensors")
    safetensors.torch.save_file(checkpoint(34), folder / "resnet34.safetensors")
    return folder


def network_of(**changes: Any) -> DaRefineNet:
    config = NetworkConfig(**{"encoder_depth": 18, "context_depth": 18, "decoder_width": 8, **changes})
    network = build_network(config, 3)
    assert isinstance(network, DaRefineNet)
    return network


def assert_loaded(encoder: torch.nn.Module, depth: int) -> None:
    expected = checkpoint(depth)
    state = encoder.state_dict()
    assert state.keys() == expected.keys() - {"fc.weight", "fc.bias"}
    assert [
        name for name, tensor in state.items() if not torch.equal(tensor, expected[name].to(tensor.dtype))
    ] == []


@pytest.mark.parametrize("file", ["resnet18.pth", "resnet18.safetensors"])
def test_both_encoders_take_a_checkpoint_as_it_is(folder: Path, file: str) -> None:
    network = network_of()
    before = network.classify.weight.clone()
    load_imagenet(network, str(folder / file))
    assert_loaded(network.encoder, 18)
    assert_loaded(network.context_encoder, 18)
    assert torch.equal(network.classify.weight, before)


def test_encoders_of_two_depths_take_a_source_each(folder: Path) -> None:
    network = network_of(encoder_depth=34)
    sources = [str(folder / f"resnet{depth}.safetensors") for depth in (34, 18)]
    load_imagenet(network, sources[0], context_source=sources[1])
    assert_loaded(network.encoder, 34)
    assert_loaded(network.context_encoder, 18)
    with pytest.raises(
        WeightsError, match=r"(?s)does not fit the context encoder.*two sources.*layer1\.2\.conv1\.weight"
    ):
        load_imagenet(network, sources[0])


def test_a_single_input_network_takes_one(folder: Path) -> None:
    network = network_of(second_input="single")
    load_imagenet(network, str(folder / "resnet18.pth"))
    assert_loaded(network.encoder, 18)


def test_checkpoints_from_before_batches_were_counted_are_taken(tmp_path: Path) -> None:
    old = {
        name: tensor for name, tensor in checkpoint(18).items() if not name.endswith("num_batches_tracked")
    }
    torch.save(old, tmp_path / "old.pth")
    network = network_of(second_input="single")
    load_imagenet(network, str(tmp_path / "old.pth"))
    assert network.encoder.conv1.weight.unique().tolist() == [0]


def changed(**changes: torch.Tensor | None) -> dict[str, torch.Tensor]:
    merged = {**checkpoint(18), **{name.replace("__", "."): tensor for name, tensor in changes.items()}}
    return {name: tensor for name, tensor in merged.items() if tensor is not None}


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        (changed(bn1__bias=None), r'Missing key\(s\) in state_dict: "bn1\.bias"'),
        (changed(stem__0__weight=torch.zeros(1)), r'Unexpected key\(s\) in state_dict: "stem\.0\.weight"'),
        (changed(conv1__weight=torch.zeros(64, 1, 7, 7)), r"conv1\.weight.*\[64, 1, 7, 7\].*\[64, 3, 7, 7\]"),
    ],
)
def test_what_does_not_match_is_named(tmp_path: Path, tensors: dict[str, torch.Tensor], message: str) -> None:
    path = tmp_path / "other.safetensors"
    safetensors.torch.save_file(tensors, path)
    with pytest.raises(
        WeightsError, match=rf"(?s)other\.safetensors does not fit the slice encoder.*{message}"
    ):
        load_imagenet(network_of(), str(path))


def test_a_narrow_encoder_is_told_what_width_fits(folder: Path) -> None:
    with pytest.raises(WeightsError, match="encoder_width 64"):
        load_imagenet(network_of(encoder_width=32), str(folder / "resnet18.pth"))


@pytest.mark.parametrize(
    "name", ["none.pth", "none.safetensors", "text.pth", "text.safetensors", "object.pth"]
)
def test_what_is_no_checkpoint_is_refused(tmp_path: Path, name: str) -> None:
    for path in ("text.pth", "text.safetensors"):
        (tmp_path / path).write_text("hello")
    torch.save(Path("a pickled object"), tmp_path / "object.pth")
    with pytest.raises(WeightsError, match=rf"cannot read ImageNet weights from .*{name}"):
        load_imagenet(network_of(), str(tmp_path / name))


def test_a_file_of_another_kind_is_refused(tmp_path: Path) -> None:
    torch.save([torch.zeros(1)], tmp_path / "list.pth")
    with pytest.raises(WeightsError, match="holds a list, not a state dict"):
        load_imagenet(network_of(), str(tmp_path / "list.pth"))


def test_a_unet_has_no_encoder_to_load() -> None:
    network = build_network(NetworkConfig(architecture="unet", encoder_width=8, second_input="single"), 3)
    with pytest.raises(WeightsError, match="a UNet has no ResNet"):
        load_imagenet(network, "any.pth")


def test_a_name_on_the_hub_is_fetched_by_the_hubs_own_client(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def hf_hub_download(repository: str, file: str) -> str:
        asked.append((repository, file))
        return str(folder / "resnet18.safetensors")

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=hf_hub_download))
    network = network_of(second_input="single")
    load_imagenet(network, "hf-hub:timm/resnet18.a1_in1k")
    assert asked == [("timm/resnet18.a1_in1k", "model.safetensors")]
    assert_loaded(network.encoder, 18)


def test_without_the_hubs_client_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(WeightsError, match=r"darefine\[hub\]"):
        load_imagenet(network_of(), "hf-hub:timm/resnet18.a1_in1k")


@pytest.mark.parametrize(
    "error", [FileNotFoundError("not in the cache, and offline"), ValueError("no such name")]
)
def test_a_hub_that_cannot_answer_is_told(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def hf_hub_download(repository: str, file: str) -> str:
        raise error

    monkeypatch.setitem(sys.modules, "huggingface_hub", SimpleNamespace(hf_hub_download=hf_hub_download))
    with pytest.raises(WeightsError, match=rf"model\.safetensors of timm/none .*{error}.*give its path"):
        load_imagenet(network_of(), "hf-hub:timm/none")
