"""State what to measure, and where the measuring processes leave their results."""

from dataclasses import dataclass
from pathlib import Path

RESULT = "bench.json"
"""File that the measuring process leaves in the job's directory."""


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure on which slide."""

    slide: Path
    mpp: float | None = None
    """um per level-0 px; None leaves it to the slide."""
    repeats: int = 3
    """How often everything is measured, in turn; what is reported is the median."""
