"""Naive loop, as published code has it: slice by slice, the context encoded anew for each, all in memory.

Level 0 is read with OpenSlide and down-sampled by area; fp32; glass is labelled like tissue; tifffile
writes the pyramid.
"""

from pathlib import Path

import numpy as np
import openslide
import tifffile
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from workers.engine.stopwatch import Stopwatch

from .plain_network import PlainNetwork
from .process import answer, task_of_this_process, timed, versions
from .task import Outcome, Task

Labels = NDArray[np.uint8]


def main() -> None:
    """Run the task of this process and leave its answer."""
    task = task_of_this_process()
    network, watch = PlainNetwork.of(task), Stopwatch()
    run = timed(lambda: segment(task, network, watch))
    packages = versions("numpy", "openslide-python", "tifffile")
    stages = {stage: round(seconds, 3) for stage, seconds in watch.seconds.items()}
    outcome = Outcome(run.seconds, run.peak_mb, "fp32", 0, torch.get_num_threads(), packages, stages)
    answer(task, outcome, run.value)


@torch.inference_mode()
def segment(task: Task, plain: PlainNetwork, watch: Stopwatch) -> Labels:
    """Return the label map (H, W) of the whole slide; write it as `naive.tif` too."""
    with openslide.OpenSlide(task.slide) as slide:
        width, height = (side // task.downsample for side in slide.dimensions)
        labels = np.zeros((height, width), np.uint8)
        for top in range(0, height, task.patch_px):
            for left in range(0, width, task.patch_px):
                with watch.stage("read"):
                    patch = read_patch(slide, task, left, top)
                with watch.stage("network"):
                    label_patch(plain, patch, labels[top : top + task.patch_px, left : left + task.patch_px])
    with watch.stage("pyramid"):
        write_pyramid(Path(task.folder) / "naive.tif", labels)
    return labels


def read_patch(slide: openslide.OpenSlide, task: Task, left: int, top: int) -> Tensor:
    """Read a patch from level 0 as (1, 3, patch_px, patch_px) float32 of 0..255, 0 beyond the slide."""
    n, side = task.downsample, task.patch_px
    image = slide.read_region((left * n, top * n), 0, (side * n, side * n)).convert("RGB")
    pixels = torch.from_numpy(np.array(image)).permute(2, 0, 1).unsqueeze(0).float()
    return F.interpolate(pixels, size=(side, side), mode="area")


def label_patch(plain: PlainNetwork, patch: Tensor, labels: Labels) -> None:
    """Fill in the labels of one patch, at most (patch_px, patch_px).

    Slices that lie wholly beyond the slide are left out.
    """
    image = plain.normalise(patch)
    context = plain.context_of(image)
    for x, y in plain.corners():
        part = labels[y : y + plain.slice_px, x : x + plain.slice_px]
        if part.size:
            window = image[:, :, y : y + plain.slice_px, x : x + plain.slice_px]
            found = plain.logits(window, context, plain.boxes([(x, y)])).argmax(1)[0] + 1
            part[...] = found[: part.shape[0], : part.shape[1]].to(torch.uint8).numpy()


def write_pyramid(path: Path, labels: Labels) -> None:
    """Write a pyramid of every second pixel from level to level, down to one tile."""
    with tifffile.TiffWriter(path, bigtiff=True) as tiff:
        step = 1
        while step == 1 or max(labels.shape) > 512 * step // 2:
            level = np.ascontiguousarray(labels[::step, ::step])
            tiff.write(
                level,
                tile=(512, 512),
                photometric="minisblack",
                compression="deflate",
                subfiletype=int(step > 1),
            )
            step *= 2


if __name__ == "__main__":
    main()
