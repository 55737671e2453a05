"""Patch pixels in, label maps out."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from model.card import CardWeights, ModelCard, NetworkConfig, Normalisation
from model.errors import DeviceError, InputError, WeightsError
from model.inference.preprocess import Normaliser, context_from_region
from model.inference.segmenter import Segmenter
from model.network.base import ContextFeatures, SegmentationNetwork
from model.network.build import build_network
from model.network.da_refinenet import DaRefineNet
from model.network.init import initialise
from model.weights import save_weights
from tests import WEIGHTS
from wsi.geometry import Rect, Size
from wsi.patch_view import PatchView

SQUARE = Size(160, 160)
WINDOWS = [(0, 0), (32, 0), (64, 32), (96, 96), (5, 7)]


def view_of(
    windows: Sequence[tuple[int, int]],
    size: Size = SQUARE,
    *,
    slice_px: int = 32,
    network_px: int = 64,
) -> PatchView:
    """Windows at these places of a region, with a halo of 16 px around slices; the region is the context."""
    region = Rect.of(size)
    return PatchView(
        region=region,
        context=region,
        corners=tuple((x + 16, y + 16) for x, y in windows),
        slice_px=slice_px,
        halo_px=16,
        slice_network_px=network_px,
        context_network_px=32,
    )


VIEW = view_of(WINDOWS)


@pytest.fixture
def network(card: ModelCard) -> SegmentationNetwork:
    return clear_network(card)


def clear_network(card: ModelCard) -> SegmentationNetwork:
    """A network whose classes are clearly apart and about equally frequent on noise."""
    network = build_network(card.network, 3)
    initialise(network, seed=3)
    noise, boxes = torch.randn(4, 3, 64, 64), torch.tensor([[0.2, 0.2, 0.6, 0.6]]).expand(4, -1)
    network(noise, noise[:2], boxes)
    with torch.no_grad():
        network.eval()
        network.classify.weight.mul_(1000)
        assert network.classify.bias is not None
        network.classify.bias.sub_(network(noise, noise[:2], boxes).mean((0, 2, 3)))
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
        boxes = torch.tensor([[x, y, x + 64, y + 64]]) / 160
        logits = network.eval()(normalise(window), context, boxes)
        return F.interpolate(logits, size=(64, 64), mode="bilinear")[0, :, 16:48, 16:48]


UNET = NetworkConfig(architecture="unet", encoder_width=8, second_input="single")


@pytest.mark.parametrize("changes", [{}, {"second_input": "aligned"}, {"second_input": "single"}, None])
def test_labels_are_the_likeliest_class_of_each_window_centre(
    card: ModelCard, pixels: NDArray[np.uint8], changes: dict[str, Any] | None
) -> None:
    card = replace(card, network=UNET if changes is None else replace(card.network, **changes))
    network = clear_network(card)
    labels = segmenter_of(network, card, batch_size=2).label_patch(pixels, VIEW)
    assert labels.shape == (5, 32, 32)
    assert labels.dtype == np.uint8
    for corner, tile in zip(WINDOWS, labels, strict=True):
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
    first = segmenter.label_patch(pixels, VIEW)
    np.testing.assert_array_equal(segmenter.label_patch(pixels, VIEW), first)
    assert network.training
    assert all(torch.equal(before[name], tensor) for name, tensor in network.state_dict().items())


class Cramped(DaRefineNet):
    """Has memory for two slices at a time, and from the second context on."""

    def __init__(self, *arguments: Any, **keywords: Any) -> None:
        super().__init__(*arguments, **keywords)
        self.contexts = 0
        self.batches: list[int] = []

    def encode_context(self, context: torch.Tensor) -> ContextFeatures:
        self.contexts += 1
        if self.contexts == 1:
            raise torch.OutOfMemoryError
        return super().encode_context(context)

    def forward(self, slices: torch.Tensor, *others: Any) -> torch.Tensor:
        self.batches.append(len(slices))
        if len(slices) > 2:
            raise torch.OutOfMemoryError
        return super().forward(slices, *others)


def test_labels_are_the_same_when_memory_runs_out_on_the_way(
    network: SegmentationNetwork, card: ModelCard, pixels: NDArray[np.uint8]
) -> None:
    cramped = Cramped(3, encoder_depth=18, context_depth=18, encoder_width=8, decoder_width=8)
    cramped.load_state_dict(network.state_dict())
    segmenter = segmenter_of(cramped, card, batch_size=4)
    expected = segmenter_of(network, card).label_patch(pixels, view_of(WINDOWS[:4]))
    for _ in range(2):
        np.testing.assert_array_equal(segmenter.label_patch(pixels, view_of(WINDOWS[:4])), expected)
    assert isinstance(segmenter.network, Cramped)
    assert segmenter.network.batches == [4, 2, 2, 2, 2]
    assert segmenter.batch_size(VIEW) == 2


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("fusion", ["attention", "concat"])
def test_logits_on_a_cpu_depend_neither_on_the_batch_nor_on_threads(
    card: ModelCard, pixels: NDArray[np.uint8], precision: str, fusion: Any
) -> None:
    # Widths at which algorithms of other sums differ in the last digits.
    card = replace(card, network=replace(card.network, encoder_width=16, decoder_width=56, fusion=fusion))
    network = clear_network(card)
    seen = {}
    # Five windows: in passes of 5, of 3 and 2, and each alone, on one thread and on two.
    for threads, batch_size in [(1, 5), (1, 3), (1, 1), (2, 5), (2, 1)]:
        torch.set_num_threads(threads)
        segmenter = Segmenter(network, card, device="cpu", precision=precision, batch_size=batch_size)
        logits: list[torch.Tensor] = []
        segmenter.network.register_forward_hook(lambda *call, kept=logits: kept.append(call[-1]))
        labels = segmenter.label_patch(pixels, VIEW)
        torch.set_num_threads(1)
        seen[threads, batch_size] = torch.cat(logits), torch.from_numpy(labels)
    usual = seen.pop((1, 5))
    for case, found in seen.items():
        assert all(torch.equal(a, b) for a, b in zip(found, usual, strict=True)), case


class OneConvolution(SegmentationNetwork):
    """As little to compile as may be."""

    def __init__(self) -> None:
        super().__init__()
        self.classify = torch.nn.Conv2d(3, 3, 4, 4)

    def encode_context(self, context: torch.Tensor) -> ContextFeatures:
        pooled = context.mean((2, 3))
        return ContextFeatures(context, (pooled,))

    def forward(self, slices: torch.Tensor, context: Any = None, boxes: Any = None) -> torch.Tensor:
        return self.classify(slices) + context.repeated(len(slices)).pooled[0][:, :, None, None]


# torch's own compiler warns of parts of torch.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")
def test_a_compiled_network_labels_alike_and_is_compiled_for_one_size(
    card: ModelCard, pixels: NDArray[np.uint8]
) -> None:
    network = OneConvolution()
    expected = segmenter_of(network, card).label_patch(pixels, VIEW)
    segmenter = segmenter_of(network, card, batch_size=2, compiled=True)
    with torch._dynamo.config.patch(error_on_recompile=True):
        labels = segmenter.label_patch(pixels, VIEW)
        np.testing.assert_array_equal(segmenter.label_patch(pixels, view_of(WINDOWS[:1])), labels[:1])
    assert len(np.unique(expected)) > 1
    assert (labels == expected).mean() >= 0.995


def test_where_nothing_can_be_compiled_loading_says_so(
    network: SegmentationNetwork, card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise RuntimeError("InvalidCxxCompiler: No working C++ compiler found\nmuch more")

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(DeviceError, match="No working C\\+\\+ compiler found\\)"):
        segmenter_of(network, card, compiled=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_labels_patches_submitted_one_after_another_each_as_alone(
    network: SegmentationNetwork, card: ModelCard, pixels: NDArray[np.uint8]
) -> None:
    segmenter = Segmenter(network, card, device="cuda", precision="fp32")
    patches = [np.roll(pixels, shift, 0) for shift in range(8)]
    pending = [segmenter.submit(patch, VIEW) for patch in patches]
    for patch, labels in zip(patches, map(segmenter.collect, pending), strict=True):
        np.testing.assert_array_equal(labels, segmenter.label_patch(patch, VIEW))
        on_cpu = segmenter_of(network, card).label_patch(patch, VIEW)
        assert (labels == on_cpu).mean() > 0.99
    batch_size = segmenter.batch_size(VIEW)
    assert batch_size is not None
    assert 1 <= batch_size <= 32


def test_windows_are_resampled_when_the_network_reads_another_scale(
    network: SegmentationNetwork, card: ModelCard, pixels: NDArray[np.uint8]
) -> None:
    segmenter = segmenter_of(network, card)
    for side in (32, 96):
        labels = segmenter.label_patch(pixels, view_of(WINDOWS, network_px=side))
        assert labels.shape == (5, 32, 32)
        assert set(np.unique(labels)) <= {1, 2, 3}


class ColourReader(torch.nn.Module):
    """Stands in for a network: the logits are red, green and blue at a quarter of the size."""

    logit_px = None

    def forward(self, images: torch.Tensor, context: None, boxes: torch.Tensor) -> torch.Tensor:
        return F.avg_pool2d(images, 4)


class BoxKeeper(torch.nn.Module):
    """Stands in for a network: keeps the boxes it is given."""

    boxes: torch.Tensor

    logit_px = None

    def forward(self, images: torch.Tensor, context: None, boxes: torch.Tensor) -> torch.Tensor:
        type(self).boxes = boxes
        return F.avg_pool2d(images, 4)


def test_a_network_is_told_where_in_the_region_each_window_lies(card: ModelCard) -> None:
    card = replace(card, network=replace(card.network, second_input="single"))
    wide = np.zeros((160, 320, 3), np.uint8)
    segmenter_of(BoxKeeper(), card).label_patch(wide, view_of([(0, 96), (160, 16)], Size(320, 160)))  # type: ignore[arg-type]
    expected = torch.tensor([[0, 0.6, 0.2, 1.0], [0.5, 0.1, 0.7, 0.5]])
    torch.testing.assert_close(BoxKeeper.boxes, expected)


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

    labels = segmenter.label_patch(
        pixels if across else pixels.transpose(1, 0, 2),
        view_of(corners if across else [(y, x) for x, y in corners], slice_px=64, network_px=side),
    )

    for (x, _), tile in zip(corners, labels if across else labels.transpose(0, 2, 1), strict=True):
        expected_px = border_px - x - 16
        assert (np.abs((tile == 1).sum(1) - expected_px) <= 1).all()
        assert (tile[:, : expected_px - 1] == 1).all()
        assert (tile[:, expected_px + 1 :] == 2).all()


def test_a_flat_slide_looks_alike_at_every_scale(network: SegmentationNetwork, card: ModelCard) -> None:
    flat = np.full((160, 160, 3), 200, np.uint8)
    segmenter = segmenter_of(network, card)
    same = segmenter.label_patch(flat, view_of([(40, 40)]))
    assert same.shape == (1, 32, 32)
    assert (segmenter.label_patch(flat, view_of([(0, 0)])) == same).all()


def test_read_only_and_strided_pixels_are_taken(
    network: SegmentationNetwork, card: ModelCard, pixels: NDArray[np.uint8]
) -> None:
    segmenter = segmenter_of(network, card)
    expected = segmenter.label_patch(pixels, VIEW)
    wide = np.concatenate([pixels, pixels], axis=1)[:, :160]
    wide.flags.writeable = False
    np.testing.assert_array_equal(segmenter.label_patch(wide, VIEW), expected)


def test_no_window_gives_no_label(
    network: SegmentationNetwork, card: ModelCard, pixels: NDArray[np.uint8]
) -> None:
    assert segmenter_of(network, card).label_patch(pixels, view_of([])).shape == (0, 32, 32)


@pytest.mark.parametrize("corner", [(-1, 0), (0, 97)])
def test_a_window_outside_the_region_is_refused(
    network: SegmentationNetwork, card: ModelCard, pixels: NDArray[np.uint8], corner: tuple[int, int]
) -> None:
    with pytest.raises(InputError, match="outside the region"):
        segmenter_of(network, card).label_patch(pixels, view_of([corner]))


def test_pixels_of_another_type_are_refused(network: SegmentationNetwork, card: ModelCard) -> None:
    with pytest.raises(InputError, match="uint8"):
        segmenter_of(network, card).label_patch(np.zeros((160, 160, 3)), VIEW)  # type: ignore[arg-type]


def test_pixels_that_are_not_the_regions_are_refused(
    network: SegmentationNetwork, card: ModelCard, pixels: NDArray[np.uint8]
) -> None:
    with pytest.raises(InputError, match="send those of the region"):
        segmenter_of(network, card).label_patch(pixels[:-1], VIEW)


@pytest.mark.parametrize("second_input", ["single", "multi-size"])
def test_networks_without_a_patch_context_segment_too(
    card: ModelCard, pixels: NDArray[np.uint8], second_input: Any
) -> None:
    card = replace(card, network=replace(card.network, second_input=second_input))
    segmenter = segmenter_of(build_network(card.network, 3), card)
    assert segmenter.label_patch(pixels, VIEW).shape == (5, 32, 32)


def saved(network: SegmentationNetwork, card: ModelCard, folder: Path) -> Path:
    sha256 = save_weights(network, folder / "tiny.safetensors", "float32")
    replace(card, weights=CardWeights("tiny.safetensors", sha256, "float32")).save(folder / "tiny.json")
    return folder / "tiny.json"


def test_a_saved_model_labels_as_the_network_it_was(
    network: SegmentationNetwork, card: ModelCard, pixels: NDArray[np.uint8], tmp_path: Path
) -> None:
    loaded = Segmenter.load(saved(network, card, tmp_path), device="cpu", precision="fp32")
    assert (loaded.device, loaded.dtype, loaded.card.name) == ("cpu", "fp32", "tiny")
    expected = segmenter_of(network, card).label_patch(pixels, VIEW)
    np.testing.assert_array_equal(loaded.label_patch(pixels, VIEW), expected)


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
    cards = sorted(WEIGHTS.glob("*.json"))
    assert cards
    for path in cards:
        Segmenter.load(path, device="cpu")
