"""Benchmark of jobs on a GPU: how far they keep the pace of their network, or of reading if that is slower.

`python -m benchmarks.gpu` writes `benchmarks/results/gpu.json` and the table of `benchmarks/README.md`. It
runs on a CPU too, with a small `--size`.
"""

import tempfile
import time
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import Any

import click
import torch
from torch.profiler import ProfilerActivity, profile

from darefine.cli.progress_bar import progress_bar
from model.card import ModelCard
from model.inference.cpu_tuning import tune_malloc
from model.inference.device import choose_device
from model.inference.segmenter import Segmenter
from workers.bench.bench import load_average
from workers.bench.measure import machine, stand_in_of, time_job, time_network, warm_up
from workers.engine.main import io_threads
from workers.engine.pipeline import plan_job
from workers.engine.segment import IoThreads
from workers.jobs import JobFiles, JobParameters
from workers.protocol import RunJob
from workers.settings import WorkerSettings
from wsi.reading.patch_pixels import read_patch
from wsi.reading.slide import open_slide
from wsi.work_ahead import work_ahead

from .cards import write_card
from .options import out_option, work_option
from .slides import phantom_slide
from .tables import DEMO_CARD, caption_of, write_results

DEMO = "demo"
NETWORKS = (DEMO, "resnet50-50-attention-light", "resnet50-50-attention")
READERS = (1, 2, 4, 8, 16)
TISSUE = 0.7
COUNTED_MEGAPIXELS = 50_000**2 * 0.3 / 1e6
"""Tissue of a slide that is counted an hour: 30 % of 50 000 px square, as `darefine bench` counts them."""

SHOWN_KERNELS = 14

ASIDE = (lambda _progress: None, lambda: False)
"""Report to nobody; never cancel."""


@click.command()
@click.option("--device", default="auto", show_default=True)
@click.option("--size", "size_px", type=click.IntRange(min=2560), default=40_000, show_default=True)
@click.option("--network", "networks", multiple=True, default=NETWORKS, show_default=True)
@click.option("--compile", "compiled", is_flag=True, help="With torch.compile, which takes long at first.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True)
@work_option
@out_option("gpu")
def main(
    device: str,
    size_px: int,
    networks: tuple[str, ...],
    rounds: int,
    work: Path | None,
    out: Path | None,
    *,
    compiled: bool,
) -> None:
    """Label one slide with each network, `rounds` times in turn with its parts alone."""
    tune_malloc()
    load, chosen = load_average(), str(choose_device(device))
    with tempfile.TemporaryDirectory() as temporary, progress_bar() as show:
        folder = work or Path(temporary)
        slide = phantom_slide(folder, size_px, TISSUE, show)
        reading = {str(count): read_speed(slide, folder, count) for count in READERS}
        runs = [run_network(name, slide, folder, chosen, rounds, compiled=compiled) for name in networks]
    found = {
        "slide": slide.name,
        "machine": machine(chosen),
        "device": chosen,
        "threads": torch.get_num_threads(),
        "load_before": load,
        "read_megapixels_per_second": reading,
        "runs": runs,
    }
    caption = caption_of(*({**found, **run} for run in runs))
    write_results("gpu", found, table_of(runs, reading), caption=caption, folder=out)


def run_network(
    name: str, slide: Path, folder: Path, device: str, rounds: int, *, compiled: bool
) -> dict[str, Any]:
    """Measure whole jobs of one network, it alone, and jobs without it; profile a job on a GPU."""
    card = DEMO_CARD if name == DEMO else write_card(name, folder)
    started = time.perf_counter()
    segmenter = Segmenter.load(card, device=device, compiled=compiled)
    run = RunJob("gpu", 1, slide.name, str(slide), str(folder / "job"), segmenter.card.name, JobParameters())
    batch_size = warm_up(segmenter, run)
    ready_s = time.perf_counter() - started
    stand_in, threads = stand_in_of(segmenter, batch_size), io_threads(WorkerSettings(), device)
    jobs, alone, around = [], [], []
    for _ in range(rounds):
        job, _result, plan = time_job(run, segmenter, *ASIDE, threads=threads)
        jobs.append(job)
        alone.append(time_network(segmenter, plan, batch_size))
        around.append(time_job(run, stand_in, *ASIDE, threads=threads)[0])
    on_gpu = device != "cpu"
    return {
        "model": {"name": segmenter.card.name},
        "dtype": segmenter.dtype,
        "compiled": compiled,
        "batch_size": batch_size,
        "io_threads": asdict(threads),
        "ready_s": round(ready_s, 2),
        "gpu_peak_mb": torch.cuda.max_memory_allocated() >> 20 if on_gpu else None,
        "job": [asdict(one) for one in jobs],
        "network_alone": [asdict(one) for one in alone],
        "stand_in": [asdict(one) for one in around],
        "profile": profile_job(run, segmenter, threads) if on_gpu else None,
    }


def read_speed(slide: Path, folder: Path, threads: int) -> float:
    """Return the level-0 MP/s that the patches of a slide are decoded at, by so many threads."""
    run = RunJob("gpu", 1, slide.name, str(slide), str(folder / "job"), "", JobParameters())
    (folder / "job").mkdir(exist_ok=True)
    with open_slide(slide) as source:
        plan, _tissue = plan_job(run, JobFiles(folder), source, ModelCard.load(DEMO_CARD), ASIDE[0])
        start = time.perf_counter()
        reading = work_ahead(
            lambda patch: read_patch(source, plan.view(patch), plan.grid.downsample).region.shape,
            plan.patches,
            threads=threads,
            depth=2 * threads,
        )
        with closing(reading):
            slices = sum(len(patch.slices) for patch, _shape in reading)
        seconds = time.perf_counter() - start
    return round(slices * plan.grid.slice_megapixels_l0 / seconds, 1)


def profile_job(run: RunJob, segmenter: Segmenter, threads: IoThreads) -> dict[str, Any]:
    """Return how long kernels and copies keep the GPU in a job, and the kernels that take most of it."""
    with profile(activities=[ProfilerActivity.CUDA]) as found:
        job, *_ = time_job(run, segmenter, *ASIDE, threads=threads)
    rows = [(row.key, row.self_device_time_total / 1e6, row.count) for row in found.key_averages()]
    copies = [row for row in rows if row[0].startswith("Mem")]
    kernels = [row for row in rows if not row[0].startswith(("Mem", "cuda"))]
    kernels.sort(key=lambda row: -row[1])
    return {
        "job_s": round(job.seconds, 3),
        "kernel_s": round(sum(row[1] for row in kernels), 3),
        "copies_s": round(sum(row[1] for row in copies), 3),
        "launches": sum(row[2] for row in kernels),
        "kernels": [
            {"name": name[:120], "seconds": round(seconds, 4), "launches": count}
            for name, seconds, count in kernels[:SHOWN_KERNELS]
        ],
    }


def table_of(runs: list[dict[str, Any]], reading: dict[str, float]) -> list[list[str]]:
    """Return heading and cells of the table; `reading` is MP/s by number of threads."""
    heading = "network;job MP/s;network alone;all but the network;reading alone"
    table = [[*heading.split(";"), "job / the slower of network and reading", "GPU busy", "slides an hour"]]
    for run in runs:
        job, alone, around = (
            median(one["megapixels"] / one["seconds"] for one in run[key])
            for key in ("job", "network_alone", "stand_in")
        )
        read, profiled = reading[str(run["io_threads"]["read"])], run["profile"]
        busy = f"{profiled['kernel_s'] / profiled['job_s']:.0%}" if profiled else ""
        name = f"{run['model']['name']}, {run['dtype']}{', compiled' * run['compiled']}"
        speeds = [f"{speed:.0f}" for speed in (job, alone, around, read)]
        hourly = f"{3600 * job / COUNTED_MEGAPIXELS:.0f}"
        table.append([name, *speeds, f"{job / min(alone, read):.0%}", busy, hourly])
    return table


if __name__ == "__main__":
    main()
