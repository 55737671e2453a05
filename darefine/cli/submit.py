"""Command `darefine submit`: send a slide to a service and download the result."""

import json
from pathlib import Path
from typing import Any

import click
import httpx
from rich.console import Console
from rich.table import Table

from .client import Client, ServiceRefusedError
from .progress_bar import progress_bar

DEFAULT_URL = "http://127.0.0.1:8000"


class JobFailedError(Exception):
    """Error of a job that ended without a result; the message says why."""


@click.command()
@click.argument("slide", type=click.Path(exists=True, path_type=Path))
@click.option("--url", default=DEFAULT_URL, show_default=True, envvar="DAREFINE_URL", help="The service.")
@click.option(
    "--out",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder for the results [default: the slide's name].",
)
@click.option("--model", help="Model to use [default: the service's].")
@click.option("--mpp", type=float, help="Micrometres per pixel, if the slide does not say or is wrong.")
@click.option("--halo-px", type=int, help="Overlap around each slice, in label pixels.")
@click.option(
    "--precision",
    type=click.Choice(["fp32", "bf16", "fp16"]),
    help="Number format [default: what the device is fast at].",
)
@click.option("--tissue/--no-tissue", default=True, help="Leave glass out, or label every pixel.")
@click.option("--priority", type=click.Choice(["normal", "high"]), default="normal", show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print the job and its result as JSON, nothing else.")
def submit(slide: Path, url: str, out: Path | None, as_json: bool, **options: Any) -> None:
    """Send SLIDE, wait, download overlay.tif, labels.tif and result.json.

    SLIDE is a file, or a folder for DICOM and the like. The exit code is 0 only when the job succeeded.
    """
    folder = out or Path(f"{slide.resolve().stem}-darefine")
    console = Console(stderr=as_json, quiet=as_json)
    client = Client(url)
    chosen = {name: value for name, value in options.items() if value is not None}
    try:
        job = run_job(client, upload(client, slide, console), chosen, console)
        result = fetch(client, job["id"], folder)
    except (ServiceRefusedError, JobFailedError) as error:
        raise click.ClickException(str(error)) from error
    except httpx.TransportError as error:
        raise click.ClickException(
            f"{url} does not answer ({error}). Start one with `darefine serve`."
        ) from error
    finally:
        client.close()
    if as_json:
        click.echo(json.dumps({"job": job, "result": result, "folder": str(folder)}))
    else:
        console.print(class_table(result))
        console.print(
            f"pixel size {result['mpp']['slide']:g} um ({result['mpp']['source']}); --mpp overrules it"
        )
        console.print(f"{folder}/overlay.tif, labels.tif, result.json")


def upload(client: Client, slide: Path, console: Console) -> str:
    """Send a slide with a progress bar and return its id.

    Raises:
        ServiceRefusedError: when the service does not take it.
    """
    with progress_bar(console=console) as show:
        stored = client.upload(
            slide,
            lambda done, total: show("upload", done / total, facts=f"{done / 1e6:.1f}/{total / 1e6:.1f} MB"),
        )
    slide_id: str = stored["id"]
    return slide_id


def run_job(client: Client, slide_id: str, options: dict[str, Any], console: Console) -> dict[str, Any]:
    """Submit a job, follow it with a progress bar and return it finished; Ctrl-C cancels it.

    Raises:
        ServiceRefusedError: when the service refuses, or does not answer any more.
        JobFailedError: when the job ends without a result.
    """
    job = client.submit(slide_id, options)
    try:
        with progress_bar(console=console, estimate=False) as show:
            for job in client.follow(job["id"]):  # noqa: B020  (the newest state is the job)
                progress = job["progress"]
                label = progress["stage"] if job["state"] == "running" else job["state"]
                show("job", progress["fraction"], label=label, facts=facts(progress))
    except KeyboardInterrupt:
        client.cancel(job["id"])
        raise
    if job["state"] != "succeeded":
        detail = job["error"]["detail"] if job["error"] else ""
        raise JobFailedError(f"The job {job['id']} ended as {job['state']}. {detail}".strip())
    return job


def facts(progress: dict[str, Any]) -> str:
    """Return patches, speed and time left as text, as far as they are known."""
    parts = (
        [f"{progress['patches_done']}/{progress['patches_total']} patches"]
        if progress["patches_total"]
        else []
    )
    if progress["megapixels_per_second"]:
        parts.append(f"{progress['megapixels_per_second']:.1f} MP/s")
    if progress["eta_s"]:
        minutes, seconds = divmod(round(progress["eta_s"]), 60)
        parts.append(f"ETA {minutes}:{seconds:02d}")
    return "  ".join(parts)


def fetch(client: Client, job_id: str, folder: Path) -> dict[str, Any]:
    """Download the result files into `folder` and return the result document.

    Raises:
        ServiceRefusedError: when there is no result.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in ("overlay.tif", "labels.tif"):
        client.download(job_id, name, folder / name)
    result = client.result(job_id)
    (folder / "result.json").write_text(json.dumps(result, indent=1), encoding="utf-8")
    return result


def class_table(result: dict[str, Any]) -> Table:
    """Return the table of the area of each class."""
    table = Table("value", "class", "mm²", "% of tissue")
    for item in result["classes"]:
        red, green, blue = item["colour"]
        name = f"[rgb({red},{green},{blue})]■[/] {item['name']}"
        table.add_row(str(item["value"]), name, f"{item['area_mm2']:.3f}", f"{100 * item['fraction']:.1f}")
    return table
