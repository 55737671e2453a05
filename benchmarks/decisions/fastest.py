"""Time variants of one piece of work against each other."""

import time
from collections.abc import Callable, Mapping


def fastest_ms(variants: Mapping[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Return the shortest time of each variant in ms, over `repeats` rounds in which all take turns.

    The shortest, because other work on the machine only ever adds time. A first round warms up and does
    not count.
    """
    times: dict[str, list[float]] = {name: [] for name in variants}
    for _ in range(repeats + 1):
        for name, run in variants.items():
            start = time.perf_counter()
            run()
            times[name].append((time.perf_counter() - start) * 1e3)
    return {name: min(taken[1:]) for name, taken in times.items()}
