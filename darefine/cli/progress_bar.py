"""Progress bars of the commands: one per name, on stderr, because stdout is for results."""

from collections.abc import Iterator
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


class ShowProgress(Protocol):
    """Call that moves a progress bar; it also fits where `Callable[[str, float], None]` is wanted."""

    def __call__(self, name: str, share: float, /, *, label: str | None = None, facts: str = "") -> None:
        """Set the bar called `name` to `share` in 0..1; it is added when it is new.

        Args:
            name: which bar; also its label, unless there is another.
            share: fraction that is done.
            label: text before the bar.
            facts: text behind the bar, such as a speed.
        """


@contextmanager
def progress_bar(
    *,
    console: Console | None = None,
    estimate: bool = True,
    newest_only: bool = False,
    transient: bool = False,
    disable: bool = False,
) -> Iterator[ShowProgress]:
    """Show progress bars while the block runs.

    Args:
        console: where they are drawn; stderr by default. Lines printed on it stand above the bars.
        estimate: show an estimate of the time left.
        newest_only: hide all bars but the one that moved last.
        transient: remove the bars at the end.
        disable: show nothing.
    """
    shown = console or Console(stderr=True)
    with Progress(*_columns(estimate), console=shown, transient=transient, disable=disable) as bars:
        tasks: dict[str, TaskID] = {}

        def show(name: str, share: float, /, *, label: str | None = None, facts: str = "") -> None:
            if name not in tasks:
                tasks[name] = bars.add_task(name, total=1.0, facts="")
            bars.update(tasks[name], completed=share, description=label or name, facts=facts)
            if newest_only:
                for other, task in tasks.items():
                    bars.update(task, visible=other == name)

        yield show


def _columns(estimate: bool) -> list[ProgressColumn]:
    columns = [TextColumn("{task.description:<8}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()]
    return [*columns, *([TimeRemainingColumn()] if estimate else []), TextColumn("{task.fields[facts]}")]
