"""Which slides teach, which choose the best state, and which examine at the end."""

from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

from wsi.grid import InputGeometry

from ..card import CardInput
from ..errors import CohortError


@dataclass(frozen=True, slots=True)
class SlideWithTruth:
    """A slide and its truth: a single-channel TIFF of class values on the slide's label px grid, 0 = no
    truth."""

    slide: Path
    truth: Path


@dataclass(frozen=True, slots=True)
class Cohort:
    """Slides to train on, slides held out to look at during training, and slides kept for the test.

    Raises CohortError when there are none to train on or none held out, or when two sets share a slide.
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
        shared = {path for one, other in combinations(sets, 2) for path in one & other}
        if shared:
            names = ", ".join(sorted(path.name for path in shared))
            raise CohortError(
                f"{names}: both trained on and held out, or in two held-out sets; scores would mean nothing. "
                "Hold out others."
            )

    def to_json(self) -> dict[str, list[str]]:
        """File names only: a card tells nothing of the machine it was made on. Without a test set, no "test"."""
        sets = {"train": self.train, "validation": self.validation, "test": self.test}
        return {
            name: [pair.slide.name for pair in pairs]
            for name, pairs in sets.items()
            if pairs or name != "test"
        }


def geometry_of(card_input: CardInput) -> InputGeometry:
    """The card's input section as the cutting rule of wsi."""
    return InputGeometry(
        card_input.mpp, card_input.context_ratio, card_input.tiles_per_side, card_input.halo_px
    )
