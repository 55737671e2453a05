"""The time line of a job."""

from pathlib import Path

from PIL import Image

from benchmarks.trace import Span, TracingStopwatch, draw


def test_every_interval_is_kept_with_its_thread() -> None:
    watch = TracingStopwatch()
    with watch.stage("network"), watch.stage("slices"):
        pass
    assert [span.stage for span in watch.spans] == ["slices", "network"]
    assert {span.thread for span in watch.spans} == {"MainThread"}
    inner, outer = watch.spans
    assert 0 <= outer.start <= inner.start <= inner.end <= outer.end
    assert set(watch.seconds) == {"network", "slices"}


def test_a_picture_is_drawn(tmp_path: Path) -> None:
    spans = [
        Span("read", "reader", 0, 1),
        Span("slices", "MainThread", 1, 3),
        Span("network", "MainThread", 1, 3),
    ]
    draw(spans, "title", tmp_path / "trace.png")
    with Image.open(tmp_path / "trace.png") as picture:
        assert picture.width > 600
