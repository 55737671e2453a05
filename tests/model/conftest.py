"""Tiny networks, cards and slides."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch

from model.card import CardWeights, ModelCard, NetworkConfig, Normalisation
from model.data.index import SlideIndex
from model.data.splits import Cohort, SlideWithTruth
from wsi.grid import InputGeometry
from wsi.palette import LabelClass

MPP = 0.934


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    """Networks this small lose more to waiting for a second thread than they gain."""
    torch.set_num_threads(1)


@pytest.fixture
def card() -> ModelCard:
    """Three classes, one tile a patch: region and window are 544 px, the context 96 px."""
    return ModelCard(
        name="tiny",
        version="1",
        title="Tiny",
        description="for tests",
        intended_use="tests",
        phantom=True,
        classes=(
            LabelClass(1, "normal", (0, 0, 0)),
            LabelClass(2, "odd", (255, 0, 0)),
            LabelClass(3, "bad", (0, 0, 255)),
        ),
        input=InputGeometry(mpp=MPP, context_ratio=5, slices_per_side=1, halo_px=16),
        normalisation=Normalisation(mean=(0.8, 0.7, 0.8), std=(0.2, 0.2, 0.2)),
        network=NetworkConfig(encoder_depth=18, encoder_width=8, context_depth=18, decoder_width=8),
        weights=CardWeights(file="tiny.safetensors", sha256="0" * 64, dtype="float16"),
    )


@pytest.fixture
def write_slide(tmp_path: Path) -> Callable[..., SlideWithTruth]:
    """Writes a TIFF slide of coloured blocks with noise, and its truth.

    Classes fill 192 px wide columns in turn.
    """

    def write(
        name: str, seed: int, *, width: int = 704, height: int = 640, classes: int = 3
    ) -> SlideWithTruth:
        rng = np.random.default_rng(seed)
        truth = np.broadcast_to((np.arange(width) // 192 + seed) % classes + 1, (height, width)).astype(
            np.uint8
        )
        truth[:32] = 0
        colours = np.array([[250, 250, 250], [230, 170, 200], [150, 90, 170], [90, 40, 120]])
        pixels = np.clip(colours[truth] + rng.normal(0, 8, (height, width, 3)), 0, 255).astype(np.uint8)
        pair = SlideWithTruth(tmp_path / f"{name}.tif", tmp_path / f"{name}-truth.tif")
        per_cm = 1e4 / MPP
        tags = {"tile": (256, 256), "resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
        tifffile.imwrite(pair.slide, pixels, photometric="rgb", **tags)
        tifffile.imwrite(pair.truth, truth, photometric="minisblack", compression="deflate", **tags)
        return pair

    return write


@pytest.fixture
def cohort(write_slide: Callable[..., SlideWithTruth]) -> Cohort:
    """Two slides to train on, one held out."""
    return Cohort((write_slide("a", 0), write_slide("b", 1)), (write_slide("c", 2),))


@pytest.fixture
def index(card: ModelCard, cohort: Cohort) -> SlideIndex:
    """The cohort without planned slices."""
    return SlideIndex(card.classes, card.input, cohort, (), (), (), "test")
