"""Figures of runs, and their table."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.tables import kernels_of, loads_of

from .competitors import OURS, OURS_LIKE_PEERS, TIATOOLBOX, Turn
from .task import Outcome

HEADING = (
    "network",
    "slide px",
    "tissue",
    "who",
    "s",
    "MP/s of slide",
    "MP/s of tissue tiles",
    "peak MB",
    "time / ours",
    "time / ours, fp32, no halo",
    "labels as ours",
)


@dataclass(slots=True)
class Seen:
    """All runs of one competitor, and the labels of the first, which are the same each time."""

    outcomes: list[Outcome] = field(default_factory=list)
    labels: NDArray[np.uint8] | None = None

    def add(self, turn: Turn) -> None:
        """Add a run."""
        self.outcomes.append(turn.outcome)
        self.labels = turn.labels if self.labels is None else self.labels


def summary(seen: Mapping[str, Seen], *, megapixels: float) -> dict[str, Any]:
    """Return the figures of each competitor of a case: medians of seconds and the most of memory.

    `megapixels` are those of the slide.
    """
    medians = {who: _median(runs.outcomes) for who, runs in seen.items()}
    tissue = medians[OURS].tissue_megapixels
    assert tissue is not None
    return {
        "megapixels": {"slide": round(megapixels, 3), "tissue_tiles": round(tissue, 3)},
        "entrants": {
            who: {
                **_figures(runs.outcomes, megapixels, tissue),
                "time_to_ours": round(medians[who].seconds / medians[OURS].seconds, 3),
                "time_to_ours_like_peers": round(medians[who].seconds / medians[OURS_LIKE_PEERS].seconds, 3),
                "labels_as_ours": _agreement(runs.labels, seen[OURS].labels),
            }
            for who, runs in seen.items()
        },
    }


def _median(outcomes: Sequence[Outcome]) -> Outcome:
    in_order = sorted(outcomes, key=lambda outcome: outcome.seconds)
    return in_order[(len(in_order) - 1) // 2]


def _figures(outcomes: Sequence[Outcome], megapixels: float, tissue: float) -> dict[str, Any]:
    median, seconds = _median(outcomes), sorted(outcome.seconds for outcome in outcomes)
    return {
        "seconds": median.seconds,
        "seconds_range": [seconds[0], seconds[-1]],
        "megapixels_per_second": {
            "slide": round(megapixels / median.seconds, 3),
            "tissue_tiles": round(tissue / median.seconds, 3),
        },
        "peak_mb": max(
            (outcome.peak_mb for outcome in outcomes if outcome.peak_mb is not None), default=None
        ),
        "precision": median.precision,
        "halo_px": median.halo_px,
        "threads": median.threads,
        "stage_seconds": dict(median.stage_seconds),
        "versions": dict(median.versions),
    }


def _agreement(labels: NDArray[np.uint8] | None, ours: NDArray[np.uint8] | None) -> float | None:
    """Return the fraction of the label px analysed by both that have the same label; None without any."""
    assert labels is not None
    assert ours is not None
    both = (labels > 0) & (ours > 0)
    return round(float((labels == ours)[both].mean()), 4) if both.any() else None


def merged(old: Sequence[dict[str, Any]], new: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the cases of earlier results with those measured now in place of the same ones."""

    def key(case: dict[str, Any]) -> tuple[Any, ...]:
        return case["network"], case["size_px"], case["tissue_fraction"]

    cases = {key(case): case for case in (*old, *new)}
    return list(cases.values())


def table_of(cases: Sequence[dict[str, Any]]) -> list[list[str]]:
    """Return heading and a row for each competitor of each case."""
    return [list(HEADING), *(_row(case, who) for case in cases for who in case["entrants"])]


def _row(case: dict[str, Any], who: str) -> list[str]:
    figures = case["entrants"][who]
    fastest, slowest = figures["seconds_range"]
    speed, same = figures["megapixels_per_second"], figures["labels_as_ours"]
    return [
        case["network"],
        f"{case['size_px']:,}".replace(",", " "),
        f"{case['tissue_fraction']:.0%}",
        f"{who}, {figures['precision']}" if who == OURS else who,
        f"{figures['seconds']:.1f} ({fastest:.1f} to {slowest:.1f})",
        f"{speed['slide']:.1f}",
        f"{speed['tissue_tiles']:.1f}",
        "-" if figures["peak_mb"] is None else str(figures["peak_mb"]),
        f"{figures['time_to_ours']:.2f}",
        f"{figures['time_to_ours_like_peers']:.2f}",
        "" if who == OURS or same is None else f"{100 * same:.1f} %",
    ]


def caption_of_cases(cases: Sequence[dict[str, Any]]) -> str:
    """Return the caption: one sentence for each machine and setting, with the loads before."""
    loads: dict[str, list[float | None]] = {}
    for case in cases:
        machine = case["machine"]
        peer = case["entrants"].get(TIATOOLBOX)
        with_peer = f", tiatoolbox {peer['versions']['tiatoolbox']}" if peer else ""
        text = (
            f"Median of {case['repeats']} (fastest to slowest); {case['threads']} torch threads, "
            f"{machine['processor']}, {machine['cores']} cores, "
            f"{kernels_of(machine)}, torch {machine['torch']}{with_peer}"
        )
        loads.setdefault(text, []).append(case["load_before"])
    return "\n".join(f"{text}{loads_of(load)}." for text, load in loads.items())
