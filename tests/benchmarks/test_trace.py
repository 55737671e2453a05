"""The time line of a job."""

from pathlib import Path

import pytest
from PIL import Image, ImageColor

from benchmarks.trace import COLOURS, Span, TracingStopwatch, draw


def test_every_interval_is_kept_with_its_thread() -> None:
    watch = TracingStopwatch()
    with watch.stage("network"), watch.stage("slices"):
        pass
    assert [span.stage for span in watch.spans] == ["slices", "network"]
    assert {span.thread for span in watch.spans} == {"MainThread"}
    inner, outer = watch.spans
    assert 0 <= outer.start <= inner.start <= inner.end <= outer.end
    assert set(watch.seconds) == {"network", "slices"}


def test_the_stages_that_ran_are_drawn_in_their_colours(tmp_path: Path) -> None:
    spans = [
        Span("read", "reader", 0, 1),
        Span("slices", "MainThread", 1, 3),
        Span("network", "MainThread", 1, 3),
    ]
    draw(spans, "title", tmp_path / "trace.png")
    with Image.open(tmp_path / "trace.png") as picture:
        counts = {colour: count for count, colour in picture.convert("RGB").getcolors(1 << 16) or []}
    drawn = {stage: counts.get(ImageColor.getrgb(colour), 0) for stage, colour in COLOURS.items()}
    bars = {stage for stage, count in drawn.items() if count > 5 * drawn["plan"]}
    assert drawn["plan"] > 0, "every stage has a patch in the legend"
    assert bars == {"read", "slices"}
    assert drawn["slices"] == pytest.approx(2 * drawn["read"], rel=0.1), "twice as long"
