"""Results file: one JSON, one line per run, written anew after each so that it is whole at any moment."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from model.errors import ResumeError
from wsi.atomic import write_atomically

from .plan import Plan, same_cohort

Run = dict[str, Any]
"""Result of `runs.perform`."""


def load_results(path: Path) -> dict[str, Any]:
    """Read `plan`, `cohort`, `command`, `software` and `runs`.

    Raises:
        ResumeError: for what is no results file.
    """
    try:
        results: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        Plan(**results["plan"])
        results["cohort"], results["runs"]
    except OSError as error:
        raise ResumeError(f"cannot read {path}: {error.strerror}. The study writes it.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise ResumeError(f"{path} is no results file of this study ({error!r}). Move it away.") from error
    return results


def earlier_runs(path: Path, plan: Plan, cohort: Mapping[str, Any]) -> list[Run]:
    """Return the runs in the file, which may not be there yet.

    Raises:
        ResumeError: when they are not of this plan and cohort, so that they would not compare.
    """
    if not path.exists():
        return []
    results = load_results(path)
    runs: list[Run] = results["runs"]
    if results["plan"] != asdict(plan) or not same_cohort(results["cohort"], cohort):
        raise ResumeError(
            f"{path} holds runs with another plan or other slides than now asked for. "
            "Ask for the same, or write to another --results."
        )
    return runs


def add_run(path: Path, plan: Plan, cohort: Mapping[str, Any], run: Run) -> list[Run]:
    """Add a run to the file, which is read again first; return all of them."""
    runs = [*earlier_runs(path, plan, cohort), run]
    header = {
        "software": f"darefine {version('darefine')}",
        "command": command_of(plan, sorted({one["seed"] for one in runs})),
        "plan": asdict(plan),
        "cohort": cohort,
    }
    lines = ",\n".join(json.dumps(one) for one in runs)
    text = f'{json.dumps(header)[:-1]},\n"runs": [\n{lines}\n]}}\n'
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text.encode())
    return runs


def command_of(plan: Plan, seeds: Sequence[int]) -> str:
    """Return the command line that makes these runs."""
    named = " ".join(map(str, seeds))
    options = f"--network {plan.network} --steps {plan.steps} --seeds {named}"
    return f"python -m benchmarks.study --work WORK {options}"
