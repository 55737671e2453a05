"""Time variants of one piece of work against each other."""

import time
from collections.abc import Callable, Mapping, Sequence
from statistics import median


def fastest_ms(variants: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the shortest time of each variant in ms, over `repeats` rounds in which all take turns.

    The shortest, because other work on the machine only ever adds time. A first round warms up and does
    not count.
    """
    return {name: min(taken) for name, taken in rounds_ms(variants, repeats).items()}


def rounds_ms(
    variants: Mapping[str, Callable[[], object]],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Return the times of each variant in ms, one a round in which all take turns.

    A first round warms up and is left out. On a busy machine ratios within a round are worth more than times,
    and with one thread the clock `time.process_time` does not count what others take.
    """
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats + 1):
        for name, run in variants.items():
            start = clock()
            run()
            times[name].append((clock() - start) * 1e3)
    return {name: taken[1:] for name, taken in times.items()}


def times_faster(before: Sequence[float], now: Sequence[float]) -> tuple[str, str]:
    """Return how many times faster a variant is than another as text: the median of rounds, and its range."""
    ratios = [old / new for old, new in zip(before, now, strict=True)]
    return f"{median(ratios):.2f}", f"{min(ratios):.2f} .. {max(ratios):.2f}"
