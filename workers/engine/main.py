"""Start the engine process with real networks and the real pipeline. Imports torch."""

import os
from functools import partial
from multiprocessing.connection import Connection

import torch

from model.inference.cpu_tuning import tune_malloc
from model.inference.segmenter import Segmenter

from ..protocol import DeviceMemory, RunJob
from ..settings import WorkerSettings
from .model_cache import ModelCache
from .pipeline import run_pipeline
from .sandbox import check_readable, confine_engine, is_wanted, require
from .segment import CPU_IO_THREADS, IoThreads
from .server import Engine, serve

GPU_READERS = 8
"""Most threads that `auto` lets read for a GPU."""


def main(pipe: Connection, worker_pid: int, settings: WorkerSettings) -> None:
    """Serve the worker at the other end of `pipe`; the entry of the spawned process."""
    wanted = is_wanted(settings)
    found = confine_engine(settings) if wanted else None

    def load(settings: WorkerSettings) -> Engine[Segmenter]:
        require(found, settings)
        return load_engine(settings, confined=wanted)

    serve(pipe, worker_pid, settings, load)


def load_engine(settings: WorkerSettings, *, confined: bool = False) -> Engine[Segmenter]:
    """Load the default model of the weights folder; a `confined` engine refuses slides it cannot open."""
    tune_malloc()
    models = ModelCache.of(settings)
    ready = models.ready()

    def network(run: RunJob) -> Segmenter:
        if confined:
            check_readable(run, settings)
        return models.of_run(run)

    pipeline = partial(run_pipeline, threads=io_threads(settings, ready.device))
    return Engine(ready, network, pipeline, lambda: device_memory(ready.device))


def io_threads(settings: WorkerSettings, device: str) -> IoThreads:
    """Choose how many threads read and store: few beside a network on the CPU, more for a GPU."""
    if settings.read_threads != "auto":
        read = settings.read_threads
    elif device.startswith("cuda"):
        read = min(max(CPU_IO_THREADS.read, (os.cpu_count() or 1) // settings.workers // 2), GPU_READERS)
    else:
        read = CPU_IO_THREADS.read
    return IoThreads(read, max(CPU_IO_THREADS.write, read // 2))


def device_memory(device: str) -> DeviceMemory | None:
    """Return how full a CUDA device is; None for others."""
    if not device.startswith("cuda"):
        return None
    free, total = torch.cuda.mem_get_info(device)
    return DeviceMemory(used=total - free, total=total)
