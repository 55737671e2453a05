"""Adapter of a network of two inputs to tiatoolbox's SemanticSegmentor, which knows one.

What it is given as a patch is the whole patch; the slices are cut out of it, and the context made of it, in
`infer_batch`. The context is encoded once a patch.
"""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zarr
from numpy.typing import NDArray

# These are in another virtual environment, which this file is for.
from tiatoolbox.models.architecture.utils import argmax_last_axis  # type: ignore[import-not-found]
from tiatoolbox.models.engine.io_config import IOSegmentorConfig  # type: ignore[import-not-found]
from tiatoolbox.models.engine.semantic_segmentor import SemanticSegmentor  # type: ignore[import-not-found]
from tiatoolbox.models.models_abc import ModelABC  # type: ignore[import-not-found]

from .plain_network import PlainNetwork
from .process import timed, versions
from .task import BATCH_SLICES, Outcome, Task

READERS = 0
"""Processes that read ahead; 0, tiatoolbox's default, reads in between."""


class DualModel(ModelABC):  # type: ignore[misc]  # a class of another virtual environment
    """PlainNetwork as tiatoolbox wants its models."""

    def __init__(self, plain: PlainNetwork) -> None:
        super().__init__()
        self.network = plain.network
        self.plain = plain

    def forward(self, *inputs: Any) -> Any:
        """Run the network; the engine does not use it, but it is abstract."""
        return self.network(*inputs)

    def postproc(self, image: Any) -> Any:
        """Turn probabilities (..., K) into classes 1..K; tiatoolbox leaves 0 where it was given nothing."""
        return argmax_last_axis(image=image) + 1

    @staticmethod
    @torch.inference_mode()
    def infer_batch(model: "DualModel", batch_data: torch.Tensor, *, device: str) -> NDArray[np.float32]:  # noqa: ARG004
        """Turn patches (N, H, W, 3) of 0..255 into probabilities (N, H, W, K)."""
        plain, side = model.plain, model.plain.slice_px
        patches = plain.normalise(batch_data.permute(0, 3, 1, 2))
        out = torch.empty(*batch_data.shape[:3], plain.classes)
        corners = list(plain.corners())
        for patch, probabilities in zip(patches.unsqueeze(1), out, strict=True):
            context = plain.network.encode_context(plain.context_of(patch))
            for start in range(0, len(corners), BATCH_SLICES):
                batch = corners[start : start + BATCH_SLICES]
                slices = torch.cat([patch[:, :, y : y + side, x : x + side] for x, y in batch])
                found = plain.logits(slices, context, plain.boxes(batch)).softmax(1).permute(0, 2, 3, 1)
                for (x, y), one in zip(batch, found, strict=True):
                    probabilities[y : y + side, x : x + side] = one
        return out.numpy()


def run(task: Task) -> tuple[Outcome, NDArray[np.uint8]]:
    """Segment the slide into a zarr; return the outcome and the label map of values 1..K."""
    engine = SemanticSegmentor(
        model=DualModel(PlainNetwork.of(task)), batch_size=1, num_workers=READERS, device="cpu", verbose=False
    )
    resolution = {"units": "mpp", "resolution": task.label_mpp}
    shape = (task.patch_px, task.patch_px)
    config = IOSegmentorConfig(
        input_resolutions=[resolution],
        output_resolutions=[resolution],
        save_resolution=resolution,
        patch_input_shape=shape,
        patch_output_shape=shape,
        stride_shape=shape,
    )
    out = Path(task.folder) / "tiatoolbox"
    timing = timed(
        lambda: engine.run(
            images=[Path(task.slide)],
            patch_mode=False,
            ioconfig=config,
            save_dir=out,
            output_type="zarr",
            return_probabilities=False,
            # It does not take the resolution tags of a plain TIFF.
            wsireader_kwargs={"mpp": (task.slide_mpp, task.slide_mpp)},
        )
    )
    packages = versions("tiatoolbox", "torchvision", "timm", "numpy", "zarr", "dask", "openslide-python")
    outcome = Outcome(timing.seconds, timing.peak_mb, "fp32", 0, torch.get_num_threads(), packages)
    (path,) = timing.value.values()
    labels = np.asarray(zarr.open(str(path), mode="r")["predictions"]).astype(np.uint8)
    shutil.rmtree(out)
    return outcome, labels
