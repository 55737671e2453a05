"""Start the engine process with real networks and the real pipeline. Imports torch."""

from multiprocessing.connection import Connection

import torch

from model.inference.cpu_tuning import tune_malloc
from model.inference.segmenter import Segmenter

from ..protocol import DeviceMemory
from ..settings import WorkerSettings
from .model_cache import ModelCache
from .pipeline import run_pipeline
from .server import Engine, serve


def main(pipe: Connection, worker_pid: int, settings: WorkerSettings) -> None:
    """Serve the worker at the other end of `pipe`; the entry of the spawned process."""
    serve(pipe, worker_pid, settings, load_engine)


def load_engine(settings: WorkerSettings) -> Engine[Segmenter]:
    """Load the default model of the weights folder."""
    tune_malloc()
    models = ModelCache.of(settings)
    ready = models.ready()
    return Engine(
        ready,
        lambda run: models.get(run.model, run.parameters.precision),
        run_pipeline,
        lambda: device_memory(ready.device),
    )


def device_memory(device: str) -> DeviceMemory | None:
    """Return how full a CUDA device is; None for others."""
    if not device.startswith("cuda"):
        return None
    free, total = torch.cuda.mem_get_info(device)
    return DeviceMemory(used=total - free, total=total)
