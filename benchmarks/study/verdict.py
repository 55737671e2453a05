"""Verdict: which orders the study's numbers carry, in words that follow by rule."""

from collections.abc import Mapping, Sequence

from model.evaluation.intervals import COVERED
from model.evaluation.report import markdown

from .orders import OTHER_ORDERS, PAPER_ORDERS, Difference, Order, Part, difference
from .results import Run
from .rows import Row

PARTS: tuple[Part, ...] = ("all", "mixed")

RULE = (
    "Each line is a difference of mean MIoU, in points, over the seeds that both rows have, with the "
    f"interval that holds {100 * COVERED:g} % of the differences when slides and seeds are drawn again "
    "with replacement, the same ones for both rows. The first is called higher or lower where the "
    "interval does not hold 0; else the two are not told apart. A few seeds say little of others, so "
    "intervals are rather too narrow. No correction is made for the number of orders looked at."
)


def verdict(runs: Sequence[Run], rows: Mapping[str, Row]) -> str:
    """Return the rule, tables of the paper's orders and of others, and a summary of the paper's."""
    parts = [RULE]
    for heading, orders in (("### Orders of the paper", PAPER_ORDERS), ("### Other orders", OTHER_ORDERS)):
        parts += [heading, _table(orders, runs, rows)]
    return "\n\n".join([*parts, *(_summary(runs, rows, part) for part in PARTS)])


def _table(orders: Sequence[Order], runs: Sequence[Run], rows: Mapping[str, Row]) -> str:
    lines = [["order", "patches", "difference", "interval", "higher in", "first is"]]
    lines += [
        [_title(order, rows), part, *_cells(difference(runs, order, part))]
        for order in orders
        for part in PARTS
    ]
    return markdown(lines)


def _title(order: Order, rows: Mapping[str, Row]) -> str:
    return f"{rows[order.higher].title} > {rows[order.lower].title}"


def _cells(found: Difference | None) -> list[str]:
    if found is None:
        return ["-"] * 4
    low, high = (100 * value for value in found.interval)
    wins = f"{found.wins} of {found.seeds} seeds"
    outcome = found.outcome if found.seeds > 1 else "-"
    return [f"{100 * found.mean:+.1f}", f"{low:+.1f} to {high:+.1f}", wins, outcome]


def _summary(runs: Sequence[Run], rows: Mapping[str, Row], part: Part) -> str:
    """Return a sentence that lists the paper's orders by outcome."""
    titles: dict[str, list[str]] = {"higher": [], "lower": [], "not told apart": [], "not run": []}
    for order in PAPER_ORDERS:
        found = difference(runs, order, part)
        outcome = "not run" if found is None or found.seeds < 2 else found.outcome
        titles[outcome].append(_title(order, rows))
    higher, lower, equal, missing = ("; ".join(one) or "none" for one in titles.values())
    return (
        f"The paper's orders, {part} patches. Come out: {higher}. The other way round: {lower}. "
        f"Not told apart: {equal}. Not run with two seeds yet: {missing}."
    )
