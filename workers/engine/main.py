"""Start the engine process with real networks and the real pipeline. Imports torch."""

from multiprocessing.connection import Connection

from model.inference.cpu_tuning import tune_malloc
from model.inference.segmenter import Segmenter

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
    return Engine(models.ready(), lambda run: models.get(run.model, run.parameters.precision), run_pipeline)
