"""Split slides into training, validation and test sets."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from ..errors import CohortError


@dataclass(frozen=True, slots=True)
class SlideWithTruth:
    """Slide with its truth."""

    slide: Path
    truth: Path
    """Single-channel TIFF of class values on the slide's label px grid, 0 = no truth."""
    group: str = ""
    """What several slides or images have in common, such as the patient; "" where each stands for itself. A
    group lies in one set, and scores are resampled by groups."""


@dataclass(frozen=True, slots=True)
class Cohort:
    """Slides to train on, slides to validate on during training, and slides kept for the test.

    Raises:
        CohortError: There are none to train on or none held out, or two sets share a slide.
    """

    train: tuple[SlideWithTruth, ...]
    validation: tuple[SlideWithTruth, ...]
    test: tuple[SlideWithTruth, ...] = ()

    def __post_init__(self) -> None:
        if not self.train or not self.validation:
            raise CohortError(
                "a cohort needs at least one slide to train on and one held out; add slides with truth"
            )
        sets = [
            {pair.slide.resolve() for pair in pairs} for pairs in (self.train, self.validation, self.test)
        ]
        groups = [
            {pair.group for pair in pairs if pair.group} for pairs in (self.train, self.validation, self.test)
        ]
        if torn := sorted({group for one, other in combinations(groups, 2) for group in one & other}):
            raise CohortError(
                f"{', '.join(torn[:5])}: images of one group in several sets; scores would be too good. Give "
                "each group to one set."
            )
        shared = {path for one, other in combinations(sets, 2) for path in one & other}
        if shared:
            names = ", ".join(sorted(path.name for path in shared))
            raise CohortError(
                f"{names}: both trained on and held out, or in two held-out sets; scores would mean nothing. "
                "Hold out others."
            )

    def to_json(self) -> dict[str, list[str]]:
        """Return the file names of each set, or its groups where it has some; without a test set, no "test".

        No paths: a card tells nothing of the machine it was made on.
        """
        sets = {"train": self.train, "validation": self.validation, "test": self.test}
        return {
            name: list(dict.fromkeys(pair.group or pair.slide.name for pair in pairs))
            for name, pairs in sets.items()
            if pairs or name != "test"
        }


@dataclass(frozen=True, slots=True)
class Split:
    """Names of the slides of each set, without their endings."""

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the slides of all three sets."""
        return (*self.train, *self.validation, *self.test)


_PAPER_TRAIN = ("A02", "A03", "A04", "A06", "A07", "A08", "A09")

BACH_SPLITS = {
    # As in the paper's experiments; A01 is not used.
    "paper": Split(_PAPER_TRAIN, ("A10",), ("A05",)),
    # The released lists train on A01 too and have no slides to validate on. A01 is held out for that, which
    # leaves the paper's seven to train on: the two splits differ in validation and test alone.
    "released": Split(_PAPER_TRAIN, ("A01",), ("A05", "A10")),
}


DRAWS = 200
"""Draws among which the split is chosen that leaves the most classes to train on."""


def own_split(
    names: Sequence[str],
    validation: str,
    test: str,
    *,
    seed: int,
    patients: Mapping[str, str] | None = None,
    holds: Mapping[str, frozenset[int]] | None = None,
) -> Split:
    """Split `names` into three sets; those that are not held out are trained on.

    Args:
        names: Slides without their endings.
        validation: Held-out slides: a comma-separated list of names or patients, or a fraction like 0.2 of
            all patients, at least one, drawn at random. "" holds none out.
        test: Likewise.
        seed: Seed of the draw.
        patients: Patient of each slide, whose slides go to one set. [default: each slide has its own]
        holds: Class values that each slide has: the draw is repeated, DRAWS times at most, until all of them
            are trained on, or as many as can be.

    Raises:
        CohortError: A name is not there or is named twice, or nothing is left to train on or to validate on.
    """
    owner = {name: (patients or {}).get(name, name) for name in names}
    everyone = list(dict.fromkeys(owner[name] for name in names))
    rng = np.random.default_rng(seed)
    all_held = frozenset().union(*(holds or {}).values())
    best: tuple[int, Split | None] = (-1, None)
    for _ in range(DRAWS if holds else 1):
        split = _drawn(owner, [everyone[k] for k in rng.permutation(len(everyone))], validation, test)
        taught = len(frozenset().union(*((holds or {}).get(name, frozenset()) for name in split.train)))
        if taught > best[0]:
            best = taught, split
        if taught == len(all_held):
            break
    assert best[1] is not None
    return best[1]


def _drawn(owner: Mapping[str, str], order: Sequence[str], validation: str, test: str) -> Split:
    """Split slides by the order of their patients.

    Raises:
        CohortError: See own_split.
    """
    held_out: list[tuple[str, ...]] = [(), ()]
    # Lists first: a fraction draws from what no list names.
    for number, wanted in sorted(
        enumerate((validation, test)), key=lambda item: _fraction(item[1]) is not None
    ):
        taken = {name for chosen in held_out for name in chosen}
        held_out[number] = _held_out(wanted, order, taken, owner)
    sets = [tuple(name for name in owner if owner[name] in chosen) for chosen in held_out]
    train = tuple(name for name in owner if name not in {*sets[0], *sets[1]})
    if not train or not sets[0]:
        raise CohortError(
            "training needs slides to learn from and others for --validation; hold out some, not all"
        )
    return Split(train, sets[0], sets[1])


def _held_out(
    wanted: str, order: Sequence[str], taken: set[str], owner: Mapping[str, str]
) -> tuple[str, ...]:
    """Return the patients that are held out."""
    fraction = _fraction(wanted)
    if fraction is not None:
        free = [name for name in order if name not in taken]
        return tuple(sorted(free[: max(1, math.floor(fraction * len(order) + 0.5))]))
    chosen = tuple(name.strip() for name in wanted.split(",") if name.strip())
    if unknown := sorted(set(chosen) - set(order) - set(owner)):
        raise CohortError(
            f"{', '.join(unknown)}: no such slide with annotations; there are {', '.join(sorted(owner))}"
        )
    named = {owner.get(name, name) for name in chosen}
    if len(set(chosen)) < len(chosen) or taken & named:
        raise CohortError(f"{', '.join(chosen)}: a slide is named twice; give each to one set")
    return tuple(sorted(named))


def _fraction(wanted: str) -> float | None:
    """Return the number between 0 and 1 that `wanted` is; None for names of slides."""
    try:
        number = float(wanted)
    except ValueError:
        return None
    return number if 0 < number < 1 else None
