"""Command of the study: make all runs that are not in the results yet, then the report."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock  # torch has it

from darefine.cli.progress_bar import progress_bar
from model.errors import ModelError, ResumeError
from model.evaluation.figures import require_matplotlib
from wsi.atomic import write_atomically
from wsi.errors import WsiError

from .costs import draw_costs
from .figure import draw, networks_at_hand
from .plan import Plan, prepare, same_cohort
from .recipes import fingerprint
from .report import picture_from, report
from .results import add_run, earlier_runs, load_results
from .rows import SIZES, rows_of
from .runs import Progress as Show
from .runs import RunSettings, perform

ROOT = Path(__file__).parents[2]
LOCK = "study.lock"
"""File in the folder of a study that whoever makes slides or writes results holds."""
NAMES = tuple(row.name for row in rows_of(SIZES["small"]))


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line."""
    options = _parser().parse_args(arguments)
    plan = Plan(network=options.network, steps=options.steps)
    settings = None if options.work is None else RunSettings(options.work, options.device, options.threads)
    try:
        with progress_bar(newest_only=True) as show:
            if not options.report:
                if settings is None:
                    raise ResumeError(
                        "give --work, a folder for slides and weights; --report alone needs none"
                    )
                study(plan, options.rows, options.seeds, settings, options.results, show)
            write_report(options.results, options.figure, settings, show)
    except (ModelError, WsiError) as error:
        raise SystemExit(f"error: {error}") from error


def study(
    plan: Plan,
    names: Sequence[str],
    seeds: Sequence[int],
    settings: RunSettings,
    results: Path,
    show: Show,
) -> None:
    """Make the runs that `results` does not have: all rows with the first seed, then with the next.

    Processes with other seeds may do the same with the same folder and results.

    Raises:
        ResumeError: for results that do not compare.
        ModelError: when a run fails.
        WsiError: when a slide cannot be made or read.
    """
    settings.work.mkdir(parents=True, exist_ok=True)
    writing = FileLock(settings.work / LOCK)
    with writing:
        index, cohort = prepare(plan, settings.work, show)
    runs = earlier_runs(results, plan, cohort)
    for seed in seeds:
        for row in rows_of(SIZES[plan.network]):
            mark = fingerprint(row, seed, plan)
            earlier = [run for run in runs if (run["row"], run["seed"]) == (row.name, seed)]
            if any(run["fingerprint"] != mark for run in earlier):
                raise ResumeError(
                    f"{results} holds {row.name} with seed {seed} by another recipe. "
                    "Write to another --results."
                )
            if row.name in names and not earlier:
                run = perform(row, seed, plan, index, settings, show)
                with writing:
                    runs = add_run(results, plan, cohort, run)


def write_report(results: Path, figure: Path, settings: RunSettings | None, show: Show) -> None:
    """Write study.md beside the results and the figure of costs; the labels where weights are at hand.

    Raises:
        ResumeError: for results that are none or of other slides.
        ReportError: when pictures cannot be drawn; the tables are written by then.
    """
    found = load_results(results)
    _write_tables(found, results, figure)
    require_matplotlib()
    plan = Plan(**found["plan"])
    draw_costs(found["runs"], rows_of(SIZES[plan.network]), _costs_path(figure))
    networks = settings and networks_at_hand(found["runs"], rows_of(SIZES[plan.network]), settings.weights)
    if settings is not None and networks:
        index, cohort = prepare(plan, settings.work, show)
        if not same_cohort(cohort, found["cohort"]):
            raise ResumeError(
                f"the slides in {settings.work} are not those of {results}; give the study's own --work"
            )
        draw(networks, index, settings, SIZES[plan.network].precision, figure, show)
    _write_tables(found, results, figure)


def _write_tables(found: Mapping[str, Any], results: Path, figure: Path) -> None:
    pictures = {"Scores against arithmetic": _costs_path(figure), "Slide, truth and every network": figure}
    paths = {shown: picture_from(path, results.parent) for shown, path in pictures.items() if path.exists()}
    text = report(found, paths)
    write_atomically(results.with_suffix(".md"), text.encode())


def _costs_path(figure: Path) -> Path:
    return figure.with_name(f"{figure.stem}-costs.png")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.study", description=__doc__)
    add = parser.add_argument
    add("--work", type=Path, help="folder for slides, weights and unfinished trainings; 2 GB")
    add("--results", type=Path, default=ROOT / "benchmarks" / "results" / "study.json")
    add("--figure", type=Path, default=ROOT / "docs" / "study.png")
    add("--rows", nargs="+", choices=NAMES, default=NAMES, metavar="ROW", help=f"of {', '.join(NAMES)}")
    add("--seeds", nargs="+", type=int, default=[1, 2, 3])
    add("--network", choices=tuple(SIZES), default=Plan().network, help="size of all networks")
    add("--steps", type=int, default=Plan().steps, help="of a network that sees a context")
    add("--device", default="auto")
    add("--threads", type=int, default=1, help="that read slides ahead; more for a GPU")
    add("--report", action="store_true", help="no runs: tables from --results, figure if --work has weights")
    return parser
