"""Results as JSON, and their tables in the README."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from model.atomic import write_atomically
from model.report import markdown

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


def caption_of(measured: Mapping[str, Any]) -> str:
    """What figures hold for, from the `model`, `machine`, `device`, `dtype`, `threads` and `load_before` of results."""
    machine, load = measured["machine"], measured["load_before"]
    device = machine.get("gpu", f"{measured['threads']} threads, {machine['cpu_capability']}")
    busy = "" if load is None else f"; load average before: {load:.1f}"
    return (
        f"{measured['model']['name']}, {measured['dtype']} on {measured['device']} ({device}), {machine['processor']}, "
        f"{machine['cores']} cores, torch {machine['torch']}{busy}."
    )


def with_table(page: str, name: str, table: str) -> str:
    """The page with another table between its marks `<!-- name -->` and `<!-- end of name -->`. Raises ValueError when it
    has none."""
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    if page.count(start) != 1 or page.count(end) != 1:
        raise ValueError(f"the page needs the marks {start} and {end}, once each, around the table")
    before, rest = page.split(start)
    return f"{before}{start}\n{table}\n{end}{rest.split(end)[1]}"
