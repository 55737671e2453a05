"""Verdict: which of the paper's orders the study's numbers carry, in words that follow by rule."""

from collections.abc import Mapping, Sequence

from model.evaluation.report import markdown

from .orders import CLEAR, OUR_ORDER, PAPER_ORDERS, Difference, Order, Part, difference
from .results import Run
from .rows import Row

PARTS: tuple[Part, ...] = ("all", "mixed")

RULE = (
    "Each line is a difference of mean MIoU, in points, over the seeds that both rows have. "
    f"The first is called higher or lower where the means are more than {CLEAR:g} pooled standard deviations "
    "apart (with three seeds, 2.4 standard errors of the difference); else the two are not told apart. "
    "The last order is ours, the others are the paper's."
)


def verdict(runs: Sequence[Run], rows: Mapping[str, Row]) -> str:
    """Return the rule, the table of all orders, and a summary of the paper's, for all and mixed patches."""
    table = [["order", "patches", "difference", "pooled sd", "higher in", "first is"]]
    table += [
        [_title(order, rows), part, *_cells(difference(runs, order, part))]
        for order in (*PAPER_ORDERS, OUR_ORDER)
        for part in PARTS
    ]
    return "\n\n".join([RULE, markdown(table), *(_summary(runs, rows, part) for part in PARTS)])


def _title(order: Order, rows: Mapping[str, Row]) -> str:
    return f"{rows[order.higher].title} > {rows[order.lower].title}"


def _cells(found: Difference | None) -> list[str]:
    if found is None:
        return ["-"] * 4
    sd = "-" if found.seeds < 2 else f"{100 * found.pooled_sd:.1f}"
    wins = f"{found.wins} of {found.seeds} seeds"
    return [f"{100 * found.mean:+.1f}", sd, wins, found.outcome if found.seeds > 1 else "-"]


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
