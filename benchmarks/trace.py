"""Picture docs/trace.png: what each thread of the model process does during one job, second by second.

`python -m benchmarks.trace` labels a phantom slide in this process and draws the stages of the job as a time
line. It needs matplotlib (the extra "train").
"""

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
from matplotlib.figure import Figure

from model.inference.cpu_tuning import tune_malloc
from model.inference.segmenter import Segmenter
from workers.bench.measure import warm_up
from workers.engine.pipeline import run_pipeline
from workers.engine.stopwatch import Stopwatch
from workers.jobs import JobParameters
from workers.protocol import RunJob
from wsi.phantom import write_phantom

from .options import job_options
from .slides import PHANTOM_VERSION

COLOURS = {
    "plan": "#8c6d31",
    "read": "#3182bd",
    "context": "#e6550d",
    "slices": "#fdae6b",
    "store": "#31a354",
    "pyramid": "#756bb1",
    "verify": "#bcbddc",
}
"""Colours of the stages that are drawn; "network" is context and slices."""

OUT = Path(__file__).parents[1] / "docs" / "trace.png"


@dataclass(frozen=True, slots=True)
class Span:
    """Interval of one stage in one thread, seconds since the job began."""

    stage: str
    thread: str
    start: float
    end: float


class TracingStopwatch(Stopwatch):
    """Stopwatch that remembers every interval."""

    def __init__(self) -> None:
        super().__init__()
        self.spans: list[Span] = []
        self._began = time.perf_counter()

    @contextlib.contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time a stage as Stopwatch does, and remember the interval."""
        start = time.perf_counter()
        with super().stage(name):
            yield
        end = time.perf_counter()
        self.spans.append(Span(name, threading.current_thread().name, start - self._began, end - self._began))


@click.command()
@job_options
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), default=OUT)
def main(card: Path, size_px: int, slide: Path | None, device: str, out: Path) -> None:
    """Run one job and draw its stages."""
    tune_malloc()
    segmenter = Segmenter.load(card, device=device)
    with tempfile.TemporaryDirectory() as folder:
        path = (
            slide
            or write_phantom(
                Path(folder) / "phantom.tif", size_px=size_px, seed=11, version=PHANTOM_VERSION
            ).slide
        )
        run = RunJob("trace", 1, path.name, str(path), f"{folder}/job", segmenter.card.name, JobParameters())
        warm_up(segmenter, run)
        watch = TracingStopwatch()
        run_pipeline(run, segmenter, lambda _: None, lambda: False, watch=watch)
    draw(watch.spans, f"{segmenter.card.name}, {segmenter.dtype} on {segmenter.device}, {path.name}", out)
    click.echo(f"{out}: {max(span.end for span in watch.spans):.1f} s")


def draw(spans: Sequence[Span], title: str, out: Path) -> None:
    """Draw one lane per thread, in the order in which they began."""
    drawn = [span for span in spans if span.stage in COLOURS]
    lanes = list(dict.fromkeys(span.thread for span in sorted(drawn, key=lambda span: span.start)))
    figure = Figure(figsize=(11, 1.2 + 0.45 * len(lanes)))
    axes = figure.subplots()
    # The longest first, so that what lies inside another stage (verify in pyramid) is drawn over it.
    for span in sorted(drawn, key=lambda span: span.start - span.end):
        axes.barh(lanes.index(span.thread), span.end - span.start, left=span.start, color=COLOURS[span.stage])
    for stage, colour in COLOURS.items():
        axes.barh(0, 0, color=colour, label=stage)
    axes.set_yticks(range(len(lanes)), lanes)
    axes.invert_yaxis()
    axes.set_xlabel("seconds")
    axes.set_title(title)
    axes.legend(ncols=len(COLOURS), loc="upper center", bbox_to_anchor=(0.5, -0.35), frameon=False)
    figure.savefig(out, dpi=110, bbox_inches="tight")


if __name__ == "__main__":
    main()
