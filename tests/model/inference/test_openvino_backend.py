"""Networks in OpenVINO: torch's logits, the same bytes whatever the batch, int8 only where it agrees."""

import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.card import CardWeights, ModelCard, NetworkConfig
from model.errors import CardError, DeviceError
from model.inference.choose_backend import choose_backend
from model.inference.int8_graph import Int8Files, Int8Report, find_int8
from model.inference.openvino_backend import OpenVinoBackend
from model.inference.openvino_runtime import has_openvino, openvino_package, unquantised_precision
from model.inference.quantise import SamplePatch, quantise
from model.inference.segmenter import Segmenter
from model.network.base import SegmentationNetwork
from model.network.build import build_network
from model.network.init import initialise
from model.weights import save_weights

from .test_centred_context import centred
from .test_segmenter import VIEW, clear_network

needs_nncf = pytest.mark.skipif(find_spec("nncf") is None, reason="nncf is not installed")
needs_openvino = pytest.mark.skipif(not has_openvino(), reason="openvino is not installed")

Pixels = NDArray[np.uint8]

UNET = NetworkConfig(architecture="unet", encoder_width=8, second_input="single")


@pytest.fixture
def pixels() -> Pixels:
    return np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)


@pytest.fixture
def field() -> Pixels:
    return np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def in_openvino(network: SegmentationNetwork, card: ModelCard, precision: str, **options: Any) -> Segmenter:
    return Segmenter(OpenVinoBackend(network, card.normalisation, precision=precision), card, **options)


@needs_openvino
@pytest.mark.parametrize(
    ("changed", "own_contexts"),
    [
        ({}, False),
        ({"second_input": "aligned", "coarse_context": False}, True),
        ({"fusion": "concat"}, True),
        (None, False),
    ],
)
def test_logits_are_those_of_torch(
    card: ModelCard, pixels: Pixels, field: Pixels, changed: dict[str, Any] | None, own_contexts: bool
) -> None:
    card = replace(card, network=UNET if changed is None else replace(card.network, **changed))
    network = build_network(card.network, len(card.classes))
    initialise(network, seed=3)
    view, context = (centred(VIEW), field) if own_contexts else (VIEW, None)
    expected = Segmenter(network, card, device="cpu", precision="fp32").logits(pixels, view, context=context)
    found = in_openvino(network, card, "fp32").logits(pixels, view, context=context)
    assert np.abs(found - expected).max() < 1e-4 * np.abs(expected).max()


@needs_openvino
@pytest.mark.parametrize("precision", ["fp32", pytest.param("auto", marks=pytest.mark.slow)])
def test_bytes_depend_neither_on_the_batch_nor_on_threads(
    card: ModelCard, pixels: Pixels, field: Pixels, precision: str, threads: None
) -> None:
    network, view = clear_network(card), centred(VIEW)
    seen = []
    for count, batch_size in ((1, 3), (2, 1)):
        torch.set_num_threads(count)
        segmenter = in_openvino(network, card, precision, batch_size=batch_size)
        assert not segmenter.batch_matters
        seen.append(segmenter.logits(pixels, view, context=field).tobytes())
    assert seen[1:] == seen[:-1]


@needs_openvino
def test_contexts_do_not_depend_on_threads(card: ModelCard, threads: None) -> None:
    # Maps so wide and large that one thread and two would convolve them by other algorithms.
    card = replace(card, network=replace(card.network, encoder_width=64, fusion="concat"))
    network, image = clear_network(card), torch.rand(1, 3, 256, 256) * 255
    seen = []
    for count in (1, 2):
        torch.set_num_threads(count)
        backend = OpenVinoBackend(network, card.normalisation, precision="fp32")
        with torch.inference_mode():
            seen.append(backend.encode_context(image.to(torch.uint8), None).maps)
    assert all(torch.equal(*maps) for maps in zip(*seen, strict=True))


@needs_openvino
def test_nothing_is_told_to_anybody() -> None:
    openvino_package()
    assert "openvino_telemetry" not in sys.modules
    assert sys.modules["openvino.tools.ovc.telemetry_utils"].tm.__name__.endswith("telemetry_stub")


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, card: ModelCard) -> None:
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(DeviceError, match=r"not installed: pip install 'darefine\[openvino\]'"):
        in_openvino(clear_network(card), card, "fp32")


@pytest.mark.parametrize(
    ("asked", "chosen"),
    [
        (("auto", "auto", "cpu"), "torch"),
        (("auto", "bf16", "cpu"), "torch"),
        (("auto", "int8", "cpu"), "openvino"),
        (("torch", "fp32", "cpu"), "torch"),
        (("openvino", "auto", "cpu"), "openvino"),
        (("auto", "auto", "cuda:1"), "torch"),
    ],
)
def test_the_back_end_that_is_chosen(asked: tuple[str, str, str], chosen: str) -> None:
    assert choose_backend(*asked) == chosen


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        (("tensorrt", "auto", "cpu"), "use auto, torch, openvino"),
        (("torch", "int8", "cpu"), "set DAREFINE_BACKEND to openvino or auto"),
        (("auto", "int8", "cuda"), "set DAREFINE_DEVICE to cpu"),
        (("openvino", "fp32", "cuda"), "computes on the CPU here"),
    ],
)
def test_what_does_not_go_together_is_refused(asked: tuple[str, str, str], words: str) -> None:
    with pytest.raises(DeviceError, match=words):
        choose_backend(*asked)


def reported(card: ModelCard, **changed: Any) -> Int8Report:
    good = Int8Report(card.weights.sha256, "0" * 64, {}, True, 1, 5, 5, 1000, 0.999)
    return replace(good, **changed)


@needs_openvino
def test_a_quantised_network_that_is_not_there_or_no_good_is_refused(card: ModelCard, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=r"has no int8 form .* `darefine models quantise"):
        find_int8(tmp_path, card)
    files = Int8Files.of(tmp_path, card)
    files.write_report(reported(card, agreement=0.98765))
    with pytest.raises(DeviceError, match=r"on 98\.77 % of tissue, less than the 99\.5 %"):
        find_int8(tmp_path, card)
    files.write_report(reported(card))
    with pytest.raises(DeviceError, match="is damaged"):
        find_int8(tmp_path, card)
    files.report.write_text("{}")
    with pytest.raises(DeviceError, match="has no int8 form"):
        find_int8(tmp_path, card)


@needs_openvino
def test_other_weights_have_another_file(card: ModelCard, tmp_path: Path) -> None:
    other = replace(card, weights=CardWeights("w.safetensors", "1" * 64, "float32"))
    centred_card = replace(card, input=replace(card.input, context="centred"))
    names = {Int8Files.of(tmp_path, own).graph.name for own in (card, other, centred_card)}
    assert len(names) == 3
    assert Int8Files.of(tmp_path, other).graph.name.startswith(f"int8-{'1' * 16}-")


@needs_openvino
def test_a_cpu_that_computes_the_rest_in_another_precision_has_another_file(
    card: ModelCard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = set()
    for has_bf16 in (True, False):
        monkeypatch.setattr("model.inference.openvino_runtime.cpu_has_bf16", lambda has=has_bf16: has)
        names.add(Int8Files.of(tmp_path, card).graph.name)
    assert len(names) == 2


@pytest.fixture
def saved(card: ModelCard, tmp_path: Path) -> Path:
    """Card of a small network whose classes are clearly apart, with its weights."""
    sha256 = save_weights(clear_network(card), tmp_path / "w.safetensors", "float32")
    replace(card, weights=CardWeights("w.safetensors", sha256, "float32")).save(tmp_path / "clear.json")
    return tmp_path / "clear.json"


def samples(seed: int) -> list[SamplePatch]:
    """One patch of noise, all of it tissue."""
    pixels = np.random.default_rng(seed).integers(0, 256, (160, 160, 3), dtype=np.uint8)
    tissue = np.ones((len(VIEW.corners), VIEW.slice_px, VIEW.slice_px), np.bool_)
    return [SamplePatch(pixels, VIEW, None, tissue)]


@needs_openvino
@needs_nncf
@pytest.mark.slow
def test_a_quantised_network_is_made_once_and_always_the_same(
    saved: Path, tmp_path: Path, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Random weights put every pixel near a border between classes: it is not 99.5 %.
    monkeypatch.setattr("model.inference.int8_graph.LEAST_AGREEMENT", 0.5)
    folders = [tmp_path / name for name in ("first", "second")]
    first, second = (quantise(saved, samples(1), samples(2), own, slides=1) for own in folders)
    assert first == second
    assert (first.calibration_slices, first.checked_slices, first.checked_px) == (5, 5, 5 * 32 * 32)
    assert 0.5 < first.agreement < 1
    card = ModelCard.load(saved)
    assert json.loads(Int8Files.of(folders[0], card).report.read_text()) == asdict(first)

    seen = []
    for batch_size in (1, 4):
        own = Segmenter.load(
            saved, device="cpu", precision="int8", batch_size=batch_size, int8_dir=folders[0]
        )
        assert (own.dtype, own.batch_matters) == ("int8", False)
        assert f"int8 graph {first.graph_sha256[:12]}, rest in {unquantised_precision()}" in own.backend
        seen.append(own.label_patch(pixels, VIEW))
    fp32 = Segmenter.load(saved, device="cpu", precision="fp32").label_patch(pixels, VIEW)
    assert (seen[0] == seen[1]).all()
    assert 0.5 < (seen[0] == fp32).mean() < 1

    monkeypatch.setattr("model.inference.int8_graph.LEAST_AGREEMENT", 1.0)
    with pytest.raises(DeviceError, match="it is refused"):
        Segmenter.load(saved, device="cpu", precision="int8", int8_dir=folders[0])


@needs_openvino
def test_networks_that_cannot_be_quantised_are_refused(card: ModelCard, tmp_path: Path) -> None:
    multi = replace(card, network=replace(card.network, second_input="multi-size"))
    multi.save(tmp_path / "multi.json")
    with pytest.raises(CardError, match="multi-size, which cannot be quantised"):
        quantise(tmp_path / "multi.json", samples(1), samples(2), tmp_path, slides=1)
