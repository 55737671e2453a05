"""A request's halo widens or narrows slices; the context stays as the network was trained with it."""

from functools import cache
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from model.card import CardWeights, ModelCard, NetworkConfig, Normalisation
from model.inference.segmenter import Segmenter
from model.network.base import ContextFeatures, SegmentationNetwork
from workers.engine.segment import PatchRun
from workers.engine.stopwatch import Stopwatch
from workers.engine.tissue import job_grid
from workers.jobs import JobParameters
from workers.protocol import RunJob
from wsi.grid import InputGeometry
from wsi.palette import LabelClass
from wsi.plan import make_plan
from wsi.reading.slide import Slide, open_slide
from wsi.tissue import TissueMask

CARD = ModelCard(
    name="watched",
    version="1",
    title="t",
    description="d",
    intended_use="tests",
    phantom=True,
    classes=(LabelClass(1, "dark", (0, 0, 0)), LabelClass(2, "light", (255, 0, 0))),
    input=InputGeometry(mpp=1.0, context_ratio=4, slices_per_side=2, halo_px=32),
    normalisation=Normalisation((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    network=NetworkConfig(second_input="aligned"),
    weights=CardWeights("t.safetensors", "0" * 64, "float16"),
)


class Watched(SegmentationNetwork):
    """Labels pixels by their brightness; keeps the contexts and boxes it is given."""

    contexts: ClassVar[list[Tensor]] = []  # of the class: a Segmenter works on a copy
    boxes: ClassVar[list[Tensor]] = []

    def encode_context(self, context: Tensor) -> ContextFeatures:
        self.contexts.append(context)
        empty = context.new_zeros(1, 1)
        return ContextFeatures(empty[..., None, None])

    def forward(
        self, slices: Tensor, context: Tensor | ContextFeatures | None = None, boxes: Tensor | None = None
    ) -> Tensor:
        assert boxes is not None
        self.boxes.append(boxes)
        bright = slices.mean(1, keepdim=True)
        return torch.cat([-bright, bright], 1)


Labelled = tuple[np.ndarray, Tensor, Tensor]


@pytest.fixture(scope="module", params=[1.0, 0.7], ids=["at the card's scale", "resampled"])
def slide(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Slide:
    """Noise of 1300 x 1100 px, smooth enough to survive resampling: up to four patches."""
    noise = np.random.default_rng(0).integers(0, 256, (55, 65, 3), np.uint8)
    path = tmp_path_factory.mktemp("slide") / "noise.tif"
    per_cm = 1e4 / request.param
    tags = {"photometric": "rgb", "resolution": (per_cm, per_cm), "resolutionunit": "CENTIMETER"}
    tifffile.imwrite(path, noise.repeat(20, 0).repeat(20, 1), tile=(256, 256), **tags)
    return open_slide(path)


@cache
def labelled(slide: Slide, patch_index: int, halo_px: int | None) -> Labelled:
    """Labels of a patch, its context, and the middles of its slices in it."""
    run = RunJob("job", 1, "noise.tif", "", "", CARD.name, JobParameters(halo_px=halo_px))
    grid = job_grid(run, slide, CARD.input)
    tissue = TissueMask.everywhere(grid, slide.info.bounds)
    plan = make_plan(grid, tissue)
    segmenter = Segmenter(Watched(), CARD, device="cpu", precision="fp32")
    patches = PatchRun(slide, plan, tissue, SimpleNamespace(), segmenter, Stopwatch())  # type: ignore[arg-type]
    patch = plan.patches[patch_index % len(plan.patches)]
    Watched.contexts, Watched.boxes = [], []
    labels = patches.label(patch, patches.read(patch))
    (context,) = Watched.contexts
    boxes = torch.cat(Watched.boxes)
    return labels, context, (boxes[:, :2] + boxes[:, 2:]) / 2


@pytest.mark.slow
@given(patch_index=st.integers(0, 3), halo_px=st.integers(0, 32).map(lambda steps: 16 * steps))
@settings(max_examples=4, deadline=None)
def test_context_and_labelled_pixels_are_those_of_the_default_halo(
    slide: Slide, patch_index: int, halo_px: int
) -> None:
    expected, usual_context, usual_middles = labelled(slide, patch_index, None)
    labels, context, middles = labelled(slide, patch_index, halo_px)

    torch.testing.assert_close(context, usual_context, rtol=0, atol=0)
    torch.testing.assert_close(middles, usual_middles)
    # Only resampled slices may differ, by a blend of pixels on the edges of the noise's squares.
    agreement = (labels == expected).mean()
    assert agreement == 1 or (agreement > 0.97 and slide.info.mpp.value < 0.9)
