"""Benchmark of precisions, back ends and torch.compile: job time, and labels compared with fp32 and truth.

`python -m benchmarks.precision` writes `benchmarks/results/precision.json` and the table of
`benchmarks/README.md`.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from statistics import median
from typing import Any

import click
import numpy as np
import torch
from numpy.typing import NDArray

from darefine.cli.demo import PHANTOM_VERSION
from darefine.cli.progress_bar import progress_bar
from model.card import ModelCard
from model.evaluation.metrics import ConfusionMatrix
from model.evaluation.sample_patches import sample_patches
from model.inference.cpu_tuning import tune_malloc
from model.inference.device import choose_device, choose_precision, cpu_has_bf16
from model.inference.openvino_runtime import has_openvino
from model.inference.quantise import quantise
from model.inference.segmenter import Segmenter
from workers.bench.bench import load_average
from workers.bench.measure import machine, warm_up
from workers.engine.pipeline import run_pipeline
from workers.jobs import JobFiles, JobParameters
from workers.protocol import RunJob
from wsi.geometry import Rect
from wsi.phantom import PhantomFiles, write_phantom
from wsi.writing.label_tiff import LabelTiff

from .options import job_options, out_option
from .peers.ours import in_int8
from .tables import caption_of, write_results

SEED = 2026
"""Seed of the phantom: one with borders between classes; the demo network sees three of the four."""
CALIBRATION_SEEDS, CALIBRATION_PX, CALIBRATION_PATCHES = (501, 502), 12_288, 6
"""Phantoms that int8 is calibrated and checked with: others than the one that is measured on."""


@dataclass(frozen=True, slots=True)
class Road:
    """Way to compute: a precision, compiled or not, and a back end."""

    precision: str
    compiled: bool = False
    backend: str = "torch"

    def __str__(self) -> str:
        name = self.precision if self.backend == "torch" else f"{self.precision}, {self.backend}"
        return f"{name}, compiled" if self.compiled else name


REFERENCE = Road("fp32")


def roads_of(device: torch.device, *, compiled: bool) -> list[Road]:
    """List the ways to measure, the reference first; compiled is the precision that `auto` would choose.

    A CPU without bf16 is not made to emulate it; OpenVINO, and int8, are measured where they are installed.
    """
    roads = [REFERENCE]
    if device.type == "cuda":
        roads += [Road("bf16"), Road("fp16")]
    else:
        formats = ["bf16"] * cpu_has_bf16()
        roads += [Road(own) for own in formats]
        if has_openvino():
            quantised = ["int8"] * (find_spec("nncf") is not None)
            roads += [Road(own, backend="openvino") for own in ("fp32", *formats, *quantised)]
    return [*roads, Road(choose_precision("auto", device), compiled=True)] if compiled else roads


@click.command()
@job_options
@click.option("--compile", "compiled", is_flag=True, help="Also torch.compile, which may take long at first.")
@click.option("--seed", type=int, default=SEED, show_default=True, help="Of the phantom.")
@click.option("--rounds", type=click.IntRange(min=1), default=3, show_default=True, help="Jobs of each way.")
@out_option("precision")
def main(
    card: Path,
    size_px: int,
    slide: Path | None,
    device: str,
    compiled: bool,
    seed: int,
    rounds: int,
    out: Path | None,
) -> None:
    """Run the same slide in every way, round by round, and compare the labels.

    int8 is calibrated with two other phantoms.
    """
    tune_malloc()
    load = load_average()
    chosen = choose_device(device)
    with tempfile.TemporaryDirectory() as temporary, progress_bar() as show:
        folder = Path(temporary)
        phantom = None if slide else phantom_of(folder / "phantom.tif", size_px, seed)
        slide = slide or folder / "phantom.tif"
        roads = roads_of(chosen, compiled=compiled)
        if any(road.precision == "int8" for road in roads):
            show("quantise", 0.0)
            quantise_for(card, folder)
        rows = run_rounds(roads, rounds, card, slide, str(chosen), folder, show)
        truth = None if phantom is None else whole(phantom.truth)
    roads_json = [row.to_json(rows[0], truth) for row in rows]
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
    job_s: tuple[float, ...]
    """Seconds of each round."""
    labels: NDArray[np.uint8]
    """Label map (H, W)."""

    def to_json(self, reference: "Row", truth: NDArray[np.uint8] | None) -> dict[str, Any]:
        """Return the figures; agreement is over the label px that the reference analysed.

        `speed` is how many times as fast as the reference: median, least and most of the rounds.
        """
        ratios = sorted(own / seconds for own, seconds in zip(reference.job_s, self.job_s, strict=True))
        return {
            **asdict(self.road),
            "ready_s": round(self.ready_s, 3),
            "job_s": [round(seconds, 3) for seconds in self.job_s],
            "speed": [round(own, 3) for own in (median(ratios), ratios[0], ratios[-1])],
            "agreement": agreement(self.labels, reference.labels),
            "miou": None if truth is None else miou(self.labels, truth, reference.labels),
            "tissue_px": int(np.count_nonzero(reference.labels)),
            "class_px": np.bincount(self.labels.reshape(-1))[1:].tolist(),
        }


def run_rounds(
    roads: list[Road],
    rounds: int,
    card: Path,
    slide: Path,
    device: str,
    folder: Path,
    show: Callable[[str, float], None],
) -> list[Row]:
    """Run all ways in turn, `rounds` times, so that a machine that grows busier does so for all."""
    rows: list[Row] = []
    for number in range(rounds * len(roads)):
        show("roads", number / (rounds * len(roads)))
        place = number % len(roads)
        row = run_road(roads[place], card, slide, device, folder / f"job-{number}", folder)
        if number < len(roads):
            rows.append(row)
        else:
            rows[place] = replace(rows[place], job_s=(*rows[place].job_s, *row.job_s))
    show("roads", 1.0)
    return rows


def phantom_of(out: Path, size_px: int, seed: int) -> PhantomFiles:
    """Write a phantom of the kind that the demo network knows."""
    return write_phantom(out, size_px=size_px, seed=seed, version=PHANTOM_VERSION)


def quantise_for(card: Path, folder: Path) -> None:
    """Quantise the network of a card with phantoms of its own, into `folder`; what is refused is kept too."""
    slides = [phantom_of(folder / f"{seed}.tif", CALIBRATION_PX, seed).slide for seed in CALIBRATION_SEEDS]
    calibration, check = sample_patches(slides, ModelCard.load(card), patches=CALIBRATION_PATCHES)
    quantise(card, calibration, check, folder, slides=len(slides), keep_refused=True)


def whole(path: Path) -> NDArray[np.uint8]:
    """Read a label map (H, W)."""
    with LabelTiff(path) as tiff:
        return tiff.read(Rect.of(tiff.size))


def miou(labels: NDArray[np.uint8], truth: NDArray[np.uint8], reference: NDArray[np.uint8]) -> float | None:
    """Return the mean IoU over what the reference analysed and the truth knows; None without any class."""
    counts = ConfusionMatrix(int(max(truth.max(), labels.max())))
    counts.feed(labels, np.where(reference > 0, truth, 0))
    return counts.metrics().miou


def run_road(road: Road, card: Path, slide: Path, device: str, directory: Path, int8_dir: Path) -> Row:
    """Run one job after a warm-up.

    Raises:
        DeviceError: where the precision or compiling does not work.
        WsiError: when the slide cannot be read.
    """
    if road.precision == "int8":
        segmenter = in_int8(card, int8_dir)
    else:
        segmenter = Segmenter.load(
            card,
            device=device,
            precision=road.precision,
            compiled=road.compiled,
            backend=road.backend,
        )
    run = RunJob("precision", 1, slide.name, str(slide), str(directory), segmenter.card.name, JobParameters())
    started = time.perf_counter()
    warm_up(segmenter, run)
    ready = time.perf_counter()
    run_pipeline(run, segmenter, lambda _: None, lambda: False)
    done = time.perf_counter()
    return Row(road, ready - started, (done - ready,), whole(JobFiles(directory).labels))


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
    heading = [
        "road",
        "same label as fp32, of tissue px",
        "MIoU",
        "job s",
        "times as fast",
        "first patches s",
    ]
    table = [heading]
    for row in rows:
        road = Road(row["precision"], row["compiled"], row["backend"])
        middle, least, most = row["speed"]
        table.append(
            [
                str(road),
                f"{100 * row['agreement']:.3f} %",
                "" if row["miou"] is None else f"{100 * row['miou']:.2f} %",
                f"{median(row['job_s']):.1f}",
                f"{middle:.2f} ({least:.2f} to {most:.2f})",
                f"{row['ready_s']:.1f}",
            ]
        )
    return table


if __name__ == "__main__":
    main()
