"""Measure in the engine process: whole jobs, the network alone, and jobs with a network that costs nothing.

The three run in turn, so that a machine that grows slower or busier does so for all of them.
"""

import json
import os
import platform
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch

from model.evaluation.regions import spread
from model.inference.backend import EncodedContext
from model.inference.batching import pass_size
from model.inference.device import PRECISIONS, computing_on
from model.inference.segmenter import Segmenter
from model.network.base import ContextWindows
from wsi.patch_view import PatchView
from wsi.plan import Plan
from wsi.reading.slide import open_slide

from ..engine.hooks import Hooks
from ..engine.main import load_engine
from ..engine.pipeline import run_pipeline
from ..engine.segment import CPU_IO_THREADS, IoThreads
from ..engine.server import Engine, serve
from ..engine.tissue import job_grid
from ..errors import BenchFailedError
from ..jobs import JobFiles, Progress
from ..protocol import RunJob
from ..settings import WorkerSettings
from .memory import MemoryWatch
from .options import RESULT, BenchOptions
from .stand_in import StandInNetwork

FEATURES = ("avx2", "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16", "amx_int8", "amx_bf16")
"""What a CPU may have that makes bf16 or int8 fast, by Linux' names."""

REPLAYED_PATCHES = 12
"""The network alone runs the batches of all patches of the job, but of at most so many, evenly spread."""


def main(options: BenchOptions, pipe: Connection, worker_pid: int, settings: WorkerSettings) -> None:
    """Serve as an engine whose pipeline measures; the entry of the spawned process."""
    serve(pipe, worker_pid, settings, partial(_load_measuring, options))


def _load_measuring(options: BenchOptions, settings: WorkerSettings) -> Engine[Segmenter]:
    return replace(load_engine(settings), pipeline=partial(measure, repeats=options.repeats))


@dataclass(frozen=True, slots=True)
class Run:
    """One measured run: wall seconds and what it labelled."""

    seconds: float
    megapixels: float
    """Level-0 MP of the tiles with tissue."""
    patches: int
    stages: dict[str, float] | None = None
    """Seconds by stage, from the job's result."""


def measure(
    run: RunJob,
    segmenter: Segmenter,
    report: Callable[[Progress], None],
    cancelled: Callable[[], bool],
    _: Hooks,
    *,
    repeats: int,
) -> None:
    """Measure on the slide of `run`, `repeats` times, and leave RESULT in its directory; the median counts.

    The keys of RESULT are documented in benchmarks/README.md.

    Raises:
        BenchFailedError: No tissue was found on the slide.
        WsiError: As `run_pipeline`, like NotEnoughDiskError and JobCancelledError.
    """
    memory = MemoryWatch(segmenter.device)
    batch_size = warm_up(segmenter, run)
    stand_in = stand_in_of(segmenter, batch_size)
    jobs, networks, stand_ins, peaks = [], [], [], dict[str, int | None]()
    for repeat in range(repeats):
        part = _Part(report, 2 * repeat, 2 * repeats)
        job, result, plan = time_job(run, segmenter, part, cancelled)
        jobs.append(job)
        peaks = peaks or {"peak": memory.peak_mb(), "gpu_peak": memory.gpu_peak_mb()}
        networks.append(time_network(segmenter, plan, batch_size))
        stand_ins.append(time_job(run, stand_in, replace(part, done=part.done + 1), cancelled)[0])
    whole, alone = figures(jobs), figures(networks)
    measured = {
        **conditions(segmenter, result),
        "batch_size": batch_size,
        "repeats": repeats,
        "job": whole,
        "network_alone": alone,
        "job_to_network": round(whole["megapixels_per_second"] / alone["megapixels_per_second"], 3),
        "stand_in": figures(stand_ins),
        "memory_mb": {"idle": memory.idle_mb, **peaks},
    }
    (Path(run.directory) / RESULT).write_text(json.dumps(measured, indent=1), encoding="ascii")


def conditions(segmenter: Segmenter, result: dict[str, Any]) -> dict[str, Any]:
    """Return the conditions that the figures hold for: software, slide, model and machine."""
    return {
        "software": result["software"],
        "slide": {**result["slide"], "mpp": result["mpp"]["slide"]},
        "model": result["model"],
        "machine": machine(segmenter.device),
        "device": segmenter.device,
        "backend": segmenter.backend,
        "dtype": segmenter.dtype,
        "compiled": segmenter.compiled,
        "threads": torch.get_num_threads(),
        "halo_px": result["parameters"]["halo_px"],
    }


@dataclass(frozen=True, slots=True)
class _Part:
    """Callback that reports one of several jobs as its part of all of them."""

    report: Callable[[Progress], None]
    done: int
    of: int

    def __call__(self, progress: Progress) -> None:
        self.report(replace(progress, fraction=(self.done + progress.fraction) / self.of))


def stand_in_of(segmenter: Segmenter, batch_size: int) -> Segmenter:
    """Return a segmenter of the same card, device and precision whose network costs next to nothing.

    It computes in torch; in fp32 where that does not have the precision.
    """
    card = segmenter.card
    precision = segmenter.dtype if segmenter.dtype in PRECISIONS else "fp32"
    return Segmenter(
        StandInNetwork(card), card, device=segmenter.device, precision=precision, batch_size=batch_size
    )


def warm_up(segmenter: Segmenter, run: RunJob) -> int:
    """Label two patches before the clock starts; return the number of slices in a pass, found so.

    What libraries do once for each shape is then done. The second patch is whole, so that passes have the
    sizes of a job's.
    """
    with open_slide(Path(run.slide_path), mpp=run.parameters.mpp) as slide:
        grid = job_grid(run, slide, segmenter.card.input)
    steps = range(grid.slices_per_side)
    whole = grid.patch_view(0, [(x, y) for y in steps for x in steps])
    pixels = np.full((grid.region_px, grid.region_px, 3), 200, np.uint8)
    context = (
        np.full((whole.context_network_px,) * 2 + (3,), 200, np.uint8) if whole.context_windows else None
    )
    segmenter.label_patch(pixels, grid.patch_view(0, [(0, 0)]), context=context)
    batch_size = segmenter.batch_size(whole) or 1
    segmenter.label_patch(pixels, whole, context=context)
    return batch_size


def time_job(
    run: RunJob,
    segmenter: Segmenter,
    report: Callable[[Progress], None],
    cancelled: Callable[[], bool],
    threads: IoThreads = CPU_IO_THREADS,
) -> tuple[Run, dict[str, Any], Plan]:
    """Time a whole job from opening the slide to the verified files; return time, result and plan.

    The files are deleted.

    Raises:
        BenchFailedError: No tissue was found on the slide.
        WsiError: As `run_pipeline`; so are the other two.
        NotEnoughDiskError: As `run_pipeline`.
        JobCancelledError: As `run_pipeline`.
    """
    directory = Path(run.directory) / "job"
    start = time.perf_counter()
    run_pipeline(replace(run, directory=str(directory)), segmenter, report, cancelled, threads=threads)
    seconds = time.perf_counter() - start
    files = JobFiles(directory)
    result, plan = (json.loads(path.read_text(encoding="ascii")) for path in (files.result, files.plan))
    shutil.rmtree(directory)
    if not result["patches"]:
        raise BenchFailedError(f"No tissue was found on {run.slide_name}. Measure on a slide that has some.")
    timed = Run(seconds, result["megapixels"], result["patches"], result["stage_seconds"])
    return timed, result, Plan.from_json(plan)


@torch.inference_mode()
def time_network(segmenter: Segmenter, plan: Plan, batch_size: int) -> Run:
    """Time the network alone, on batches of a job's shapes and order: contexts once a patch, then slices.

    Images are in memory; normalising them is part of the network.
    """
    grid, device = plan.grid, segmenter.device
    patches = spread(list(plan.patches), REPLAYED_PATCHES)

    def images(count: int, side_px: int) -> torch.Tensor:
        return 255 * torch.rand(count, 3, side_px, side_px, device=device)

    slices = images(batch_size, grid.slice_network_px)
    context = images(1, grid.patch_view(0, ()).context_network_px)
    boxes = torch.tensor([[0.4, 0.4, 0.6, 0.6]], device=device).expand(batch_size, -1)
    left_out = segmenter.margin(grid.patch_view(0, ()))
    _wait_for(device)
    start = time.perf_counter()
    with computing_on(torch.device(device)):
        for patch in patches:
            view = plan.view(patch)
            encoded = _encoded(segmenter, view, context) if segmenter.card.network.sees_patch else None
            done = 0
            while (left := len(view.corners) - done) > 0:
                # As in a job: a compiled network gets whole batches only.
                count = batch_size if segmenter.compiled else pass_size(left, batch_size)
                own = encoded.part(done, done + count) if encoded and view.context_windows else encoded
                segmenter.computing.logits(slices[:count], own, boxes[:count], left_out)
                done += count
    _wait_for(device)
    seconds = time.perf_counter() - start
    slices_run = sum(len(patch.slices) for patch in patches)
    return Run(seconds, slices_run * grid.slice_megapixels_l0, len(patches))


def _encoded(segmenter: Segmenter, view: PatchView, context: torch.Tensor) -> EncodedContext:
    """Encode a context as a job does: once a patch, with each slice's window where it has its own."""
    if not view.context_windows:
        return segmenter.computing.encode_context(context, None)
    boxes = torch.from_numpy(view.context_boxes).to(context.device)
    windows = ContextWindows(boxes, view.context_window_network_px)
    return segmenter.computing.encode_context(context, windows)


def _wait_for(device: str) -> None:
    """Wait until a GPU has done what it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def figures(runs: Sequence[Run]) -> dict[str, Any]:
    """Return the figures of the median run, and the seconds of the fastest and slowest."""
    in_order = sorted(runs, key=lambda run: run.seconds)
    median = in_order[(len(in_order) - 1) // 2]
    values: dict[str, Any] = {
        "seconds": round(median.seconds, 3),
        "seconds_range": [round(in_order[0].seconds, 3), round(in_order[-1].seconds, 3)],
        "patches": median.patches,
        "megapixels": round(median.megapixels, 3),
        "megapixels_per_second": round(median.megapixels / median.seconds, 3),
    }
    return values if median.stages is None else {**values, "stage_seconds": median.stages}


def machine(device: str = "cpu") -> dict[str, Any]:
    """Describe the machine that figures were taken on; `device` is a torch device."""
    gpu = {"gpu": torch.cuda.get_device_name(device)} if device.startswith("cuda") else {}
    return {
        **gpu,
        "cores": os.cpu_count(),
        "processor": _processor(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "cpu_features": cpu_features(),
        "system": platform.platform(terse=True),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def cpu_features() -> list[str]:
    """Return those of FEATURES that this CPU has; none where Linux does not tell."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(encoding="utf-8", errors="replace") if cpuinfo.exists() else ""
    flags = next((line for line in text.splitlines() if line.startswith("flags")), "").split()
    return [name for name in FEATURES if name in flags]


def _processor() -> str:
    """Return the name of the CPU where Linux tells it, else its architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
