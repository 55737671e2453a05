"""Command `darefine demo`: the whole service on a phantom slide, over HTTP, and a picture to judge it by."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console

from darefine.client import Client, ClientError, Job, JobState, Result
from model.evaluation.label_maps import compare_label_maps, scheme_of
from model.evaluation.metrics import Metrics
from workers.errors import QueueUnavailableError
from workers.supervisor.mounts import require_local_disk
from wsi.palette import LabelClass, Palette
from wsi.phantom import PHANTOM_PALETTE, PhantomFiles, Version, write_phantom

from .cohort import facts
from .outcome_lines import class_table
from .picture import overlay_panel, side_by_side, slide_panel
from .progress_bar import progress_bar

START_SECONDS = 120

PHANTOM_VERSION: Version = 2
"""Version of the phantom that the demo weights were trained on."""

KEPT_PORT = 8000
SERVED_AT = f"http://127.0.0.1:{KEPT_PORT}"
"""Where `darefine serve` listens by default."""

MODELS = {
    "phantom-resnet18-centred": "slice and patch",
    "phantom-resnet18-single": "slice alone",
}
"""The demo weights, and what each network sees; the first is the default model."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """Result of one model on the slide, with its scores."""

    title: str
    job_id: str
    overlay: Path
    result: Result
    scores: Metrics
    """Against the phantom's truth."""


@click.command()
@click.option(
    "--out", type=click.Path(file_okay=False, path_type=Path), default=Path("demo-out"), show_default=True
)
@click.option(
    "--size",
    "size_px",
    type=click.IntRange(min=2048),
    default=20_480,
    show_default=True,
    help="Side of the slide, level-0 pixels.",
)
@click.option(
    "--seed", type=int, default=2026, show_default=True, help="Seed of the slide; the training seeds differ."
)
@click.option("--keep", is_flag=True, help="Go on serving in the end, to look at it in a browser.")
def demo(out: Path, size_px: int, seed: int, keep: bool) -> None:
    """Start the service, send it a phantom slide, fetch overlays, compare with the truth, stop.

    One overlay is of a network that sees slice and patch, one of a network that sees the slice alone. Leaves
    slide.tif, slide-truth.tif, demo.png and a folder for each network in the --out folder.
    """
    console = Console()
    out.mkdir(parents=True, exist_ok=True)
    with running_service(out / "data", out / "service.log", port=KEPT_PORT if keep else None) as client:
        console.print(f"Making a phantom slide of {size_px} x {size_px} px (synthetic, not tissue) ...")
        files = write_phantom(out / "slide.tif", size_px=size_px, seed=seed, version=PHANTOM_VERSION)
        slide = client.upload(files.slide)
        labelled = [label(client, slide.id, model, files, out, console) for model in MODELS]
        draw(files, labelled, out / "demo.png")
        console.print(class_table(labelled[0].result))
        for one in labelled:
            console.print(score_line(one))
        console.print(f"Look at {out / 'demo.png'}")
        place = f"/#job={labelled[0].job_id}&with={labelled[1].job_id}&mode=swipe"
        if keep:
            wait_for_interrupt(console, client.url + place)
    if not keep:
        again = f"DAREFINE_DATA_DIR={out / 'data'} darefine serve"
        console.print(f"or in a browser: {again}", soft_wrap=True)
        console.print(f"and open {SERVED_AT}{place}", soft_wrap=True)


def wait_for_interrupt(console: Console, address: str) -> None:
    """Say where the viewer shows the result, and return at Ctrl-C or SIGTERM."""
    console.print(f"or in a browser: {address}", soft_wrap=True)
    console.print("Ctrl-C stops the service.")
    with contextlib.suppress(KeyboardInterrupt):
        signal.signal(signal.SIGTERM, signal.default_int_handler)
        while True:
            time.sleep(3600)


def label(
    client: Client, slide_id: str, model: str, files: PhantomFiles, out: Path, console: Console
) -> Labelled:
    """Run a job with `model`, download its files into `out`/`model` and compare them with the truth."""
    console.print(f"Labelling it with {model} ({MODELS[model]}) ...")
    folder = out / model
    folder.mkdir(exist_ok=True)
    job = client.submit(slide_id, model=model)
    with progress_bar(console=console, estimate=False) as show:

        def told(job: Job) -> None:
            stage = job.progress.stage if job.state is JobState.RUNNING else str(job.state)
            show("job", job.progress.fraction, label=stage, facts=facts(job))

        client.wait(job.id, progress=told)
    result = client.result(job.id)
    for name in result.files:
        client.download(job.id, name, folder / name, result=result)
    (folder / "result.json").write_text(json.dumps(result.document(), indent=1), encoding="utf-8")
    confusion = compare_label_maps(folder / "labels.tif", files.truth, scheme_of(PHANTOM_PALETTE.classes))
    return Labelled(MODELS[model], job.id, folder / "overlay.tif", result, confusion.metrics())


@contextlib.contextmanager
def running_service(data_dir: Path, log: Path, *, port: int | None = None) -> Iterator[Client]:
    """Run `darefine serve` on loopback, yield a client, and stop it whatever happens.

    It listens on `port` if that is free, else on any free one.
    """
    port = port if port is not None and is_free(port) else free_port()
    client = Client(f"http://127.0.0.1:{port}")
    environment = {**own_environment(), "DAREFINE_DATA_DIR": str(data_dir.resolve())}
    with log.open("wb") as output, local_queue(data_dir) as queue:
        command = [sys.executable, "-m", "darefine", "serve", "--port", str(port)]
        service = subprocess.Popen(command, env=environment | queue, stdout=output, stderr=subprocess.STDOUT)
        try:
            wait_ready(client, service, log)
            yield client
        except ClientError as error:
            raise click.ClickException(str(error)) from error
        finally:
            client.close()
            service.send_signal(signal.SIGTERM)
            service.wait(timeout=30)


@contextlib.contextmanager
def local_queue(data_dir: Path) -> Iterator[dict[str, str]]:
    """Yield the setting that keeps a queue off a network file system, if the data folder lies on one."""
    try:
        require_local_disk(data_dir)
    except QueueUnavailableError:
        with tempfile.TemporaryDirectory(prefix="darefine-queue-") as folder:
            yield {"DAREFINE_QUEUE_DIR": folder}
    else:
        yield {}


def own_environment() -> dict[str, str]:
    """Return the environment without settings of another service, whose queue must not get our jobs."""
    return {
        name: value for name, value in os.environ.items() if name != "REDIS_URL" and name[:9] != "DAREFINE_"
    }


def wait_ready(client: Client, service: subprocess.Popen[bytes], log: Path) -> None:
    """Wait until the service would run a job.

    Raises:
        ClickException: when it ends before, or is not ready after START_SECONDS.
    """
    deadline = time.monotonic() + START_SECONDS
    while not client.ready():
        if service.poll() is not None:
            raise click.ClickException(f"The service ended with code {service.returncode}; see {log}.")
        if time.monotonic() > deadline:
            raise click.ClickException(f"The service is not ready after {START_SECONDS} s; see {log}.")
        time.sleep(0.2)


def is_free(port: int) -> bool:
    """Return whether nobody listens on a loopback TCP port."""
    try:
        with socket.create_server(("127.0.0.1", port)):
            return True
    except OSError:
        return False


def free_port() -> int:
    """Return a loopback TCP port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def draw(files: PhantomFiles, labelled: Sequence[Labelled], picture: Path) -> None:
    """Write the picture of slide, truth and overlays side by side."""
    palette = Palette(tuple(LabelClass(c.value, c.name, c.colour) for c in labelled[0].result.classes))
    overlays = [(f"{one.title}: MIoU {one.scores.miou:.3f}", overlay_panel(one.overlay)) for one in labelled]
    panels = (
        ("slide (synthetic, not tissue)", slide_panel(files.slide)),
        ("truth", overlay_panel(files.truth_overlay)),
        *overlays,
    )
    side_by_side(panels, palette, " / ".join(MODELS), picture)


def score_line(labelled: Labelled) -> str:
    """Return a line with MIoU, IoU per class and accuracy against the truth, and the speed."""
    result, scores = labelled.result, labelled.scores
    iou = ", ".join(f"{c.name} {value:.3f}" for c, value in zip(result.classes, scores.iou, strict=True))
    return (
        f"{labelled.title}: MIoU against the truth {scores.miou:.3f} (IoU: {iou}); "
        f"accuracy {scores.accuracy:.3f}; {scores.coverage:.1%} of the truth labelled; "
        f"{result.megapixels:.0f} MP at {result.megapixels_per_second:.1f} MP/s"
    )
