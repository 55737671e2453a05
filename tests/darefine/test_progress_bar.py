"""Progress bars as they stand when the work is over."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from darefine.cli.progress_bar import progress_bar


def drawn(**options: Any) -> list[str]:
    """The lines that two bars leave, `read` at a half and `write` done."""
    console = Console(file=StringIO(), width=120)
    with progress_bar(console=console, **options) as show:
        show("read", 0.25, facts="old facts")
        show("read", 0.5, facts="3 MB")
        show("write", 1.0, label="written")
    assert isinstance(console.file, StringIO)
    return console.file.getvalue().splitlines()


def test_each_name_has_a_bar_with_label_share_and_facts() -> None:
    read, write = drawn()
    assert read.startswith("read ")
    assert " 50% " in read
    assert read.rstrip().endswith("3 MB")
    assert write.startswith("written ")
    assert "100%" in write


def test_only_the_bar_that_moved_last_stays_where_that_is_asked() -> None:
    (only,) = drawn(newest_only=True)
    assert only.startswith("written")


def test_the_estimate_can_be_left_out() -> None:
    assert drawn()[0].count(":") == 4, "time that passed and time that is left"
    assert drawn(estimate=False)[0].count(":") == 2


def test_a_disabled_bar_draws_nothing() -> None:
    assert drawn(disable=True) == []


def test_bars_are_drawn_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_bar() as show:
        show("render", 1.0)
    out, err = capsys.readouterr()
    assert out == ""
    assert "render" in err


def test_without_a_terminal_each_bar_prints_a_line_now_and_then() -> None:
    console = Console(file=StringIO(), width=120)
    seconds = iter([0.0, 29.0, 31.0, 32.0, 61.0])
    with progress_bar(console=console, clock=lambda: next(seconds)) as show:
        for k in range(5):
            show("train", k / 10, facts=f"step {k}")
    assert isinstance(console.file, StringIO)
    *lines, _ = console.file.getvalue().splitlines()
    assert lines == ["train 20% step 2", "train 40% step 4"]
