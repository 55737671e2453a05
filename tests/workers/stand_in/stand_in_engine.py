"""An engine process with everything real but networks and pipeline.

It writes empty patch files, and fails as it is told to.
"""

import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

from model.errors import DeviceError, WeightsError
from workers.engine.hooks import Hooks
from workers.engine.server import Engine, serve
from workers.errors import JobCancelledError
from workers.jobs import Progress
from workers.protocol import Ready, RunJob
from workers.settings import WorkerSettings
from wsi.errors import SlideUnreadableError

INPUT = {"mpp": 1.0, "context_ratio": 5, "slices_per_side": 5, "halo_px": 16}
"""What the stand-in's card says of its input; waiting jobs are prepared by it."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What the pipeline of one job does, sent as the slide's name in JSON.

    `die_at`: patches at which it dies, each time it comes there without `die_once`. `hold`: it waits, after
    the first patch, until a file `go` lies in the job's directory. `deaf`: and does not look for a cancel
    while it waits. `error`: it raises that before the first patch, with `error_once` only the first time.
    `prepare`: "die" or "hang" is what the process does that prepares the job (see `sitecustomize`).
    """

    patches: int = 3
    die_at: tuple[int, ...] = ()
    die_once: bool = True
    hold: bool = False
    deaf: bool = False
    error: str = ""
    error_once: bool = False
    prepare: str = ""


def run_pipeline(
    run: RunJob, _: str, report: Callable[[Progress], None], cancelled: Callable[[], bool], hooks: Hooks
) -> None:
    plan = Plan(**json.loads(run.slide_name))
    directory = Path(run.directory)
    directory.mkdir(parents=True, exist_ok=True)
    with (directory / "starts").open("a") as file:
        file.write(f"{os.getpid()}\n")
    raised = directory / "raised"
    if plan.error and not (plan.error_once and raised.exists()):
        raised.touch()
        raise SlideUnreadableError(plan.error) if plan.error.startswith("slide") else RuntimeError(plan.error)
    for index in range(plan.patches):
        patch = directory / f"patch-{index}"
        if not patch.exists():
            if index in plan.die_at:
                die(directory / f"died-{index}", plan)
            patch.touch()
        report(
            Progress(
                fraction=index / plan.patches,
                stage="segment",
                patches_done=index + 1,
                patches_total=plan.patches,
            )
        )
        while plan.hold and not (directory / "go").exists():
            if cancelled() and not plan.deaf:
                raise JobCancelledError
            time.sleep(0.01)
    (directory / "overlay.tif").touch()
    hooks.may_clean()


def die(mark: Path, plan: Plan) -> None:
    """End the process, unless it has done so here before."""
    if plan.die_once and mark.exists():
        return
    mark.touch()
    os._exit(11)


def load(settings: WorkerSettings) -> Engine[str]:
    """The engine; a file in the data folder, or a device that is none, makes loading fail.

    The name of the default model, if there is one, is the sha256 of its weights.
    """
    if settings.device == "none":
        raise DeviceError("device 'none' is not usable here")
    broken = settings.data_dir / "broken-weights"
    if broken.exists():
        raise WeightsError("weights.safetensors is not the file its card describes")
    weights = {"sha256": settings.default_model or "ab" * 32}
    card = json.dumps({"name": "stand-in", "input": INPUT, "weights": weights})
    return Engine(
        Ready("cpu", "float32", "stand-in", (card,)), partial(network, settings.weights_dir), run_pipeline
    )


def network(weights_dir: Path, _: RunJob) -> str:
    """The network of a run; a file in the weights folder makes loading it fail."""
    if (weights_dir / "torn").exists():
        raise WeightsError("weights.safetensors is not the file its card describes")
    return "network"


def main(pipe: Connection, worker_pid: int, settings: WorkerSettings) -> None:
    """The engine process."""
    serve(pipe, worker_pid, settings, load)
