"""Measure tiles and job queries as viewers get them: at rest, and while a job computes and viewers pan.

`python -m benchmarks.tiles` starts a service of its own with a phantom slide and writes
`benchmarks/results/tiles.json` and the table of `benchmarks/README.md`. Times are of whole requests over
loopback, one connection kept open, client included. A tile is warm when it was asked for before.
"""

import multiprocessing
import random
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import httpx
import numpy as np

from darefine.cli.demo import MODELS, running_service
from darefine.cli.progress_bar import progress_bar
from workers.bench.measure import machine
from wsi.geometry import Size
from wsi.grid import TILE_PX
from wsi.tiles.levels import level_count, level_size

from .options import out_option
from .slides import phantom_slide
from .tables import kernels_of, write_results

VIEW_TILES = 12
"""Tiles a viewer asks for when it moves: a window of 1440 x 900 px on tiles of 512 px."""

MOVES_PER_SECOND = 2
"""Moves of each viewer; a hand that drags."""

POLLS_PER_SECOND = 10
TILES = 300
SEED = 7


@dataclass(frozen=True, slots=True)
class Tiled:
    """Address of tiles and their grid, as the service states it."""

    url: str
    levels: tuple[tuple[int, int], ...]
    """Columns and rows of each level, level 0 first."""
    ending: str

    @classmethod
    def of(cls, http: httpx.Client, url: str, ending: str) -> "Tiled":
        """Ask for the grid."""
        stated = http.get(url).raise_for_status().json()
        size = Size(stated["width"], stated["height"])
        grids = (level_size(size, level).tiles(TILE_PX) for level in range(level_count(size)))
        return cls(url, tuple((grid.width, grid.height) for grid in grids), ending)

    def near(self, rng: random.Random, level: int, share: float) -> str:
        """Return the address of a tile of a level in the middle `share` of the slide, where its tissue is."""
        column, row = (
            min(count - 1, max(0, int(count * (0.5 + share * (rng.random() - 0.5)))))
            for count in self.levels[level]
        )
        return f"{self.url}/{level}/{column}_{row}{self.ending}"


@click.command()
@click.option("--size", "size_px", type=click.IntRange(min=8192), default=100_000, show_default=True)
@click.option("--tissue", type=click.FloatRange(0, 1), default=0.03, show_default=True, help="Share of it.")
@click.option("--viewers", type=click.IntRange(min=0), default=3, show_default=True)
@click.option(
    "--other",
    "others",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Slides of other formats, whose tiles are measured too.",
)
@out_option("tiles")
def main(size_px: int, tissue: float, viewers: int, others: tuple[Path, ...], out: Path | None) -> None:
    """Measure, write the results and print the table."""
    with (
        tempfile.TemporaryDirectory(prefix="darefine-") as folder,
        progress_bar() as show,
        running_service(Path(folder, "data"), Path(folder, "service.log")) as client,
        httpx.Client(base_url=client.url, timeout=60) as http,
    ):
        slide = phantom_slide(Path(folder), size_px, tissue, show)
        figures = measured(http, client.url, client.upload(slide).id, viewers, tissue**0.5)
        for other in others:
            tiles = Tiled.of(http, f"/v1/slides/{client.upload(other).id}/tiles", ".jpeg")
            figures[f"slide tile, warm, {other.suffix}"] = warm(http, tiles, 1.0)
    here = machine()
    facts = {"size_px": size_px, "tissue": tissue, "viewers": viewers, "machine": here}
    table = times_table(figures)
    caption = (
        f"Phantom of {size_px} px, {tissue:.0%} tissue; {here['processor']}, "
        f"{here['cores']} cores, {kernels_of(here)}. The job computes on both."
    )
    write_results("tiles", {**facts, "milliseconds": figures}, table, caption=caption, folder=out)


def measured(
    http: httpx.Client, url: str, slide_id: str, viewers: int, share: float
) -> dict[str, dict[str, float]]:
    """Return the times of each kind of request, by name."""
    slide = Tiled.of(http, f"/v1/slides/{slide_id}/tiles", ".jpeg")
    figures = {"slide tile, warm": warm(http, slide, share)}
    job_id = submitted(http, slide_id)
    labels = Tiled.of(http, f"/v1/jobs/{job_id}/tiles", "")
    with panning(url, (slide, labels), viewers, share):
        polled, first, again = while_it_runs(http, job_id, labels, share)
    figures["job, while it computes and viewers pan"] = polled
    figures["label tile of any level, the same"] = first
    figures["label tile of any level, the same, warm"] = again
    figures["label tile, job finished"] = warm(http, labels, share)
    figures["job, finished"] = summary(timed(http, [f"/v1/jobs/{job_id}"] * TILES))
    return figures


def submitted(http: httpx.Client, slide_id: str) -> str:
    """Queue a job and return its id once its first patches are stored."""
    answer = http.post("/v1/jobs", json={"slide_id": slide_id, "model": next(iter(MODELS)), "force": True})
    job_id: str = answer.raise_for_status().json()["id"]
    while http.get(f"/v1/jobs/{job_id}").raise_for_status().json()["progress"]["patches_done"] < 3:
        time.sleep(0.1)
    return job_id


def while_it_runs(
    http: httpx.Client, job_id: str, labels: Tiled, share: float
) -> tuple[dict[str, float], dict[str, float], dict[str, float]]:
    """Ask for the job, and twice for a label tile of some level, until the job ends; return the times."""
    rng = random.Random(SEED)
    polled: list[float] = []
    first: list[float] = []
    again: list[float] = []
    while True:
        begun = time.perf_counter()
        job = http.get(f"/v1/jobs/{job_id}").raise_for_status().json()
        polled.append(1000 * (time.perf_counter() - begun))
        if job["finished_at"]:
            return summary(polled), summary(first), summary(again)
        url = labels.near(rng, rng.randrange(len(labels.levels)), share)
        first += timed(http, [url])
        again += timed(http, [url])
        time.sleep(max(0.0, begun + 1 / POLLS_PER_SECOND - time.perf_counter()))


def warm(http: httpx.Client, tiles: Tiled, share: float) -> dict[str, float]:
    """Ask for tiles of all levels twice; return the times of the second round."""
    rng = random.Random(SEED)
    urls = [tiles.near(rng, number % len(tiles.levels), share) for number in range(TILES)]
    timed(http, urls)
    return summary(timed(http, urls))


def timed(http: httpx.Client, urls: Sequence[str]) -> list[float]:
    """Return the milliseconds of each request."""
    times = []
    for url in urls:
        begun = time.perf_counter()
        http.get(url).raise_for_status()
        times.append(1000 * (time.perf_counter() - begun))
    return times


def times_table(figures: Mapping[str, Mapping[str, float]]) -> list[list[str]]:
    """Return heading and cells of a table of summaries, by what was asked for."""
    rows = [
        [name, *(f"{one[key]:g}" for key in ("requests", "p50", "p95", "p99"))]
        for name, one in figures.items()
    ]
    return [["what", "requests", "median ms", "p95 ms", "p99 ms"], *rows]


def summary(milliseconds: Sequence[float]) -> dict[str, float]:
    """Return median and high percentiles."""
    p50, p95, p99 = np.percentile(milliseconds, (50, 95, 99)).round(1).tolist()
    return {"requests": len(milliseconds), "p50": p50, "p95": p95, "p99": p99}


@contextmanager
def panning(url: str, layers: Sequence[Tiled], viewers: int, share: float) -> Iterator[None]:
    """Let so many viewers, each a process of its own, look at slide and labels meanwhile."""
    spawn = multiprocessing.get_context("spawn")
    processes = [spawn.Process(target=pan, args=(url, layers, share, seed)) for seed in range(viewers)]
    for process in processes:
        process.start()
    try:
        yield
    finally:
        for process in processes:
            process.terminate()
            process.join()


def pan(url: str, layers: Sequence[Tiled], share: float, seed: int) -> None:
    """Ask for the tiles of one view after the other, of slide and labels, for ever."""
    rng = random.Random(seed)
    with httpx.Client(base_url=url, timeout=60) as http:
        while True:
            begun = time.perf_counter()
            for layer in layers:
                level = rng.randrange(len(layer.levels))
                for _ in range(VIEW_TILES):
                    http.get(layer.near(rng, level, share))
            time.sleep(max(0.0, begun + 1 / MOVES_PER_SECOND - time.perf_counter()))


if __name__ == "__main__":
    main()
