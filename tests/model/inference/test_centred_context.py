"""Slices that each see a context window centred on them, through the Segmenter."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from model.card import ModelCard
from model.errors import InputError
from model.inference.segmenter import Segmenter
from model.network.base import SegmentationNetwork
from tests.model.inference.test_segmenter import VIEW, clear_network, segmenter_of
from wsi.patch_view import PatchView


@pytest.fixture
def network(card: ModelCard) -> SegmentationNetwork:
    return clear_network(card)


@pytest.fixture
def pixels() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (160, 160, 3), dtype=np.uint8)


def centred(view: PatchView) -> PatchView:
    """The same windows, each with the 96 px around its slice, of a field of 64 px, as context."""
    return replace(
        view,
        context=view.region.grown(48),
        context_network_px=64,
        context_windows=tuple(one.grown(32) for one in view.slices),
    )


@pytest.fixture
def field() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)


@pytest.mark.parametrize(
    ("fusion", "second_input"),
    [
        ("attention", "dual"),
        ("attention", "aligned"),
        ("attention", "hooked"),
        ("add", "dual"),
        ("concat", "dual"),
    ],
)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_labels_with_a_centred_context_depend_neither_on_the_batch_nor_on_threads(
    card: ModelCard,
    pixels: NDArray[np.uint8],
    field: NDArray[np.uint8],
    fusion: Any,
    second_input: Any,
    precision: str,
) -> None:
    network_config = replace(card.network, decoder_width=24, fusion=fusion, second_input=second_input)
    card = replace(card, network=network_config)
    network, view = clear_network(card), centred(VIEW)
    seen = []
    for threads, batch_size in [(1, 5), (1, 3), (2, 5)]:
        torch.set_num_threads(threads)
        segmenter = Segmenter(network, card, device="cpu", precision=precision, batch_size=batch_size)
        logits: list[torch.Tensor] = []
        segmenter.network.register_forward_hook(lambda *call, kept=logits: kept.append(call[-1]))
        labels = segmenter.label_patch(pixels, view, context=field)
        torch.set_num_threads(1)
        seen.append((torch.cat(logits), torch.from_numpy(labels)))
    assert all(torch.equal(a, b) for found in seen[1:] for a, b in zip(found, seen[0], strict=True))


def test_each_slice_is_labelled_by_its_own_centred_context(
    network: SegmentationNetwork, card: ModelCard, pixels: NDArray[np.uint8], field: NDArray[np.uint8]
) -> None:
    segmenter, view = segmenter_of(network, card), centred(VIEW)
    logits: list[torch.Tensor] = []
    segmenter.network.register_forward_hook(lambda *call: logits.append(call[-1]))
    segmenter.label_patch(pixels, view, context=field)
    segmenter.label_patch(pixels, replace(view, context_windows=view.context_windows[::-1]), context=field)
    here, elsewhere = torch.cat(logits[: len(logits) // 2]), torch.cat(logits[len(logits) // 2 :])
    # The window in the middle is its own mirror.
    same = [torch.allclose(a, b, atol=1e-4) for a, b in zip(here, elsewhere, strict=True)]
    assert same == [False, False, True, False, False]


@pytest.mark.parametrize("context", [None, np.zeros((32, 32, 3), np.uint8)])
def test_a_context_that_is_not_the_views_is_refused(
    network: SegmentationNetwork, card: ModelCard, pixels: NDArray[np.uint8], context: Any
) -> None:
    with pytest.raises(InputError, match=r"the context must be \(64, 64, 3\)"):
        segmenter_of(network, card).label_patch(pixels, centred(VIEW), context=context)
    with pytest.raises(InputError, match="left to the region"):
        segmenter_of(network, card).label_patch(pixels, VIEW, context=np.zeros((64, 64, 3), np.uint8))
