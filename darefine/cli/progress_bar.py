"""Progress bars of the commands: one per name, on stderr, because stdout is for results."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    ProgressColumn,
    TaskID,
    TaskProgressColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

LINE_EVERY_S = 30.0
"""Seconds between the lines of a bar where there is no terminal to draw it on."""


class ShowProgress(Protocol):
    """Call that moves a progress bar; it also fits where `Callable[[str, float], None]` is wanted."""

    def __call__(
        self,
        name: str,
        share: float,
        /,
        *,
        label: str | None = None,
        facts: str = "",
        visible: bool = True,
    ) -> None:
        """Set the bar called `name` to `share` in 0..1; it is added when it is new.

        Args:
            name: which bar; also its label, unless there is another.
            share: fraction that is done.
            label: text before the bar.
            facts: text behind the bar, such as a speed.
            visible: False takes it away for good.
        """


class PatchProgress(Protocol):
    """Progress of a job, here or at a service."""

    @property
    def patches_done(self) -> int:
        """Finished patches."""

    @property
    def patches_total(self) -> int:
        """Planned patches; 0 while they are not known."""

    @property
    def megapixels_per_second(self) -> float | None:
        """Speed, in level-0 megapixels."""

    @property
    def eta_s(self) -> float | None:
        """Seconds left."""


def progress_facts(progress: PatchProgress) -> str:
    """Return patches, speed and time left as text, as far as they are known."""
    parts = [f"{progress.patches_done}/{progress.patches_total} patches"] if progress.patches_total else []
    if progress.megapixels_per_second:
        parts.append(f"{progress.megapixels_per_second:.1f} MP/s")
    if progress.eta_s:
        minutes, seconds = divmod(round(progress.eta_s), 60)
        parts.append(f"ETA {minutes}:{seconds:02d}")
    return "  ".join(parts)


@contextmanager
def progress_bar(
    *,
    console: Console | None = None,
    estimate: bool = True,
    newest_only: bool = False,
    transient: bool = False,
    disable: bool = False,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[ShowProgress]:
    """Show progress bars while the block runs; without a terminal, a line now and then.

    Args:
        console: where they are drawn; stderr by default. Lines printed on it stand above the bars.
        estimate: show an estimate of the time left.
        newest_only: hide all bars but the one that moved last.
        transient: remove the bars at the end.
        disable: show nothing.
        clock: seconds that pass, for the lines.
    """
    shown = console or Console(stderr=True)
    lines = None if disable or shown.is_terminal else _Lines(shown, clock)
    with Progress(*_columns(estimate), console=shown, transient=transient, disable=disable) as bars:
        yield _Bars(bars, lines, newest_only=newest_only)


class _Bars:
    """Bars of one display, by name."""

    def __init__(self, bars: Progress, lines: "_Lines | None", *, newest_only: bool) -> None:
        self._bars = bars
        self._lines = lines
        self._newest_only = newest_only
        self._tasks: dict[str, TaskID] = {}

    def __call__(
        self, name: str, share: float, /, *, label: str | None = None, facts: str = "", visible: bool = True
    ) -> None:
        """Move a bar; see ShowProgress."""
        if not visible:
            if name in self._tasks:
                self._bars.remove_task(self._tasks.pop(name))
            return
        if name not in self._tasks:
            self._tasks[name] = self._bars.add_task(name, total=1.0, facts="")
        self._bars.update(self._tasks[name], completed=share, description=label or name, facts=facts)
        if self._newest_only:
            for other, task in self._tasks.items():
                self._bars.update(task, visible=other == name)
        if self._lines is not None:
            self._lines.show(label or name, share, facts)


class _Lines:
    """Prints a line of each bar every LINE_EVERY_S, for logs: a bar is only drawn there at its end."""

    def __init__(self, console: Console, clock: Callable[[], float]) -> None:
        self._console = console
        self._clock = clock
        self._printed: dict[str, float] = {}

    def show(self, label: str, share: float, facts: str) -> None:
        now = self._clock()
        if now - self._printed.setdefault(label, now) >= LINE_EVERY_S:
            self._printed[label] = now
            self._console.print(f"{label} {share:.0%} {facts}".rstrip(), highlight=False)


def _columns(estimate: bool) -> list[ProgressColumn]:
    columns = [TextColumn("{task.description:<8}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()]
    return [*columns, *([TimeRemainingColumn()] if estimate else []), TextColumn("{task.fields[facts]}")]
