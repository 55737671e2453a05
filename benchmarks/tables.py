"""Results as JSON files, and their tables in benchmarks/README.md."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from model.evaluation.report import markdown
from wsi.atomic import write_atomically

HERE = Path(__file__).parent
README = HERE / "README.md"
DEMO_CARD = HERE.parent / "weights" / "phantom-resnet18-centred.json"


def write_results(
    name: str,
    results: dict[str, Any],
    table: Sequence[Sequence[str]],
    *,
    caption: str,
    folder: Path | None = None,
) -> None:
    """Write results as `<name>.json` and print their table with its caption.

    Args:
        name: of the file, and of the table's marks in the README.
        results: JSON values.
        table: cells; the first row is the heading.
        caption: stands below the table.
        folder: where the JSON goes. None: to `results/`, and the table into the README.
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
    """Return the caption that says which model and machine the figures of results are of.

    Args:
        measured: results with `model`, `machine`, `device`, `dtype`, `threads` and `load_before`.
        others: more results of the same machine. What they differ in stands in the table; the loads are those
            of all.
    """
    machine = measured["machine"]
    every = (measured, *others)
    named = [f"{run['model']['name']}, {run['dtype']}" for run in every]
    what = f"{named[0]} on " if len(set(named)) == 1 else ""
    device = machine.get("gpu", f"{measured['threads']} threads, {kernels_of(machine)}")
    return (
        f"{what}{measured['device']} ({device}), {machine['processor']}, {machine['cores']} cores, torch "
        f"{machine['torch']}{loads_of([run['load_before'] for run in every])}."
    )


def kernels_of(machine: Mapping[str, Any]) -> str:
    """Return the name of torch's kernels on a CPU, and what else the CPU has that makes bf16 or int8 fast."""
    others = [name for name in machine.get("cpu_features", ()) if name not in ("avx2", "avx512f")]
    return " with ".join([machine["cpu_capability"], *([" ".join(others)] if others else [])])


def loads_of(loads: Sequence[float | None]) -> str:
    """Return the end of a caption: least and largest load average before runs, where they are known."""
    known = [load for load in loads if load is not None]
    ends = list(dict.fromkeys(f"{load:.1f}" for load in (min(known), max(known)))) if known else []
    return f"; load average before: {' to '.join(ends)}" if ends else ""


def with_table(page: str, name: str, table: str) -> str:
    """Return the page with another table between its marks `<!-- name -->` and `<!-- end of name -->`.

    Raises:
        ValueError: when the page does not have each mark once.
    """
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    if page.count(start) != 1 or page.count(end) != 1:
        raise ValueError(f"the page needs the marks {start} and {end}, once each, around the table")
    before, rest = page.split(start)
    return f"{before}{start}\n{table}\n{end}{rest.split(end)[1]}"
