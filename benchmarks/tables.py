"""Results as JSON, and their tables in the README."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from model.evaluation.report import markdown
from wsi.atomic import write_atomically

HERE = Path(__file__).parent
README = HERE / "README.md"
DEMO_CARD = HERE.parent / "weights" / "phantom-resnet18-aligned.json"


def write_results(
    name: str,
    results: dict[str, Any],
    table: Sequence[Sequence[str]],
    *,
    caption: str,
    folder: Path | None = None,
) -> None:
    """Write `<name>.json` and print the table, whose first row is its heading, with its caption.

    Without a `folder` the JSON goes to `results/`, and the table into the README.
    """
    text = f"{markdown(table)}\n\n{caption}"
    target = (folder or HERE / "results") / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, (json.dumps(results, indent=1) + "\n").encode("ascii"))
    if folder is None:
        readme = with_table(README.read_text(encoding="utf-8"), name, text)
        write_atomically(README, readme.encode())
    click.echo(text)


def caption_of(measured: Mapping[str, Any], *others: Mapping[str, Any]) -> str:
    """What figures hold for, from the `model`, `machine`, `device`, `dtype`, `threads` and `load_before` of results.

    With `others` of the same machine, what they differ in stands in the table, and the loads are those of all.
    """
    machine = measured["machine"]
    every = (measured, *others)
    named = [f"{run['model']['name']}, {run['dtype']}" for run in every]
    what = f"{named[0]} on " if len(set(named)) == 1 else ""
    device = machine.get("gpu", f"{measured['threads']} threads, {machine['cpu_capability']}")
    return (
        f"{what}{measured['device']} ({device}), {machine['processor']}, {machine['cores']} cores, torch "
        f"{machine['torch']}{loads_of([run['load_before'] for run in every])}."
    )


def loads_of(loads: Sequence[float | None]) -> str:
    """The end of a caption: least and largest load average before runs, where they are known."""
    known = [load for load in loads if load is not None]
    ends = list(dict.fromkeys(f"{load:.1f}" for load in (min(known), max(known)))) if known else []
    return f"; load average before: {' to '.join(ends)}" if ends else ""


def with_table(page: str, name: str, table: str) -> str:
    """The page with another table between its marks `<!-- name -->` and `<!-- end of name -->`. Raises ValueError when it
    has none.
    """
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    if page.count(start) != 1 or page.count(end) != 1:
        raise ValueError(f"the page needs the marks {start} and {end}, once each, around the table")
    before, rest = page.split(start)
    return f"{before}{start}\n{table}\n{end}{rest.split(end)[1]}"
