"""Benchmark of precisions and torch.compile: job time, and labels compared with fp32.

`python -m benchmarks.precision` writes `benchmarks/results/precision.json` and the table of
`benchmarks/README.md`.
"""

import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from darefine.cli.progress_bar import progress_bar
from model.card import ModelCard
from model.inference.cpu_tuning import tune_malloc
from model.inference.device import choose_device, choose_precision
from model.inference.segmenter import Segmenter
from workers.bench.bench import load_average
from workers.bench.measure import machine, warm_up
from workers.engine.pipeline import run_pipeline
from workers.jobs import JobFiles, JobParameters
from workers.protocol import RunJob
from wsi.geometry import Rect
from wsi.phantom import write_phantom
from wsi.writing.label_tiff import LabelTiff

from .options import job_options, out_option
from .slides import PHANTOM_VERSION
from .tables import caption_of, write_results

SEED = 2026
"""Seed of the phantom: one with borders between classes; the demo network sees three of the four."""


@dataclass(frozen=True, slots=True)
class Road:
    """Way to compute: a precision, compiled or not."""

    precision: str
    compiled: bool = False

    def __str__(self) -> str:
        return f"{self.precision}, compiled" if self.compiled else self.precision


REFERENCE = Road("fp32")


def roads_of(device: torch.device, *, compiled: bool) -> list[Road]:
    """List the ways to measure, the reference first; compiled is the precision that `auto` would choose."""
    roads = [REFERENCE, Road("bf16")]
    if device.type == "cuda":
        roads.append(Road("fp16"))
    return [*roads, Road(choose_precision("auto", device), compiled=True)] if compiled else roads


@click.command()
@job_options
@click.option("--compile", "compiled", is_flag=True, help="Also torch.compile, which may take long at first.")
@out_option("precision")
def main(card: Path, size_px: int, slide: Path | None, device: str, compiled: bool, out: Path | None) -> None:
    """Run the same slide in every way and compare the labels."""
    tune_malloc()
    load = load_average()
    chosen = choose_device(device)
    with tempfile.TemporaryDirectory() as temporary, progress_bar() as show:
        folder = Path(temporary)
        slide = (
            slide
            or write_phantom(
                folder / "phantom.tif", size_px=size_px, seed=SEED, version=PHANTOM_VERSION
            ).slide
        )
        roads = roads_of(chosen, compiled=compiled)
        rows = []
        for number, road in enumerate(roads):
            show("roads", number / len(roads))
            rows.append(run_road(road, card, slide, str(chosen), folder / f"job-{number}"))
        show("roads", 1.0)
    roads_json = [row.to_json(rows[0].labels) for row in rows]
    results: dict[str, Any] = {
        "model": {"name": ModelCard.load(card).name},
        "slide": slide.name,
        "machine": machine(str(chosen)),
        "device": str(chosen),
        "dtype": REFERENCE.precision,
        "threads": torch.get_num_threads(),
        "load_before": load,
        "roads": roads_json,
    }
    write_results("precision", results, table_of(roads_json), caption=caption_of(results), folder=out)


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """Times and labels of one way to compute."""

    road: Road
    ready_s: float
    """Seconds from loaded weights until the first patches were labelled, which is when compiling happens."""
    job_s: float
    labels: NDArray[np.uint8]
    """Label map (H, W)."""

    def to_json(self, reference: NDArray[np.uint8]) -> dict[str, Any]:
        """Return the figures; agreement is over the label px that the reference analysed."""
        return {
            **asdict(self.road),
            "ready_s": round(self.ready_s, 3),
            "job_s": round(self.job_s, 3),
            "agreement": agreement(self.labels, reference),
            "tissue_px": int(np.count_nonzero(reference)),
            "class_px": np.bincount(self.labels.reshape(-1))[1:].tolist(),
        }


def run_road(road: Road, card: Path, slide: Path, device: str, directory: Path) -> Row:
    """Run one job after a warm-up.

    Raises:
        DeviceError: where the precision or compiling does not work.
        WsiError: when the slide cannot be read.
    """
    segmenter = Segmenter.load(card, device=device, precision=road.precision, compiled=road.compiled)
    run = RunJob("precision", 1, slide.name, str(slide), str(directory), segmenter.card.name, JobParameters())
    started = time.perf_counter()
    warm_up(segmenter, run)
    ready = time.perf_counter()
    run_pipeline(run, segmenter, lambda _: None, lambda: False)
    done = time.perf_counter()
    with LabelTiff(JobFiles(directory).labels) as tiff:
        labels = tiff.read(Rect.of(tiff.size))
    return Row(road, ready - started, done - ready, labels)


def agreement(labels: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float:
    """Return the fraction of the reference's analysed pixels with the same label.

    Raises:
        ValueError: when the reference analysed none.
    """
    tissue = reference > 0
    if not tissue.any():
        raise ValueError("the slide shows no tissue to compare labels on")
    return float((labels == reference)[tissue].mean())


def table_of(rows: list[dict[str, Any]]) -> list[list[str]]:
    """Return heading and cells of the table."""
    table = [["road", "same label as fp32, of tissue px", "job s", "first patches s"]]
    for row in rows:
        cells = [str(Road(row["precision"], row["compiled"])), f"{100 * row['agreement']:.3f} %"]
        table.append([*cells, f"{row['job_s']:.1f}", f"{row['ready_s']:.1f}"])
    return table


if __name__ == "__main__":
    main()
