"""Which slides teach and which examine."""

from dataclasses import dataclass
from pathlib import Path

from model.card import CardInput
from model.errors import CohortError
from wsi.grid import InputGeometry


@dataclass(frozen=True, slots=True)
class SlideWithTruth:
    """A slide and its truth: a single-channel TIFF of class values on the slide's label px grid, 0 = no
    truth."""

    slide: Path
    truth: Path


@dataclass(frozen=True, slots=True)
class Cohort:
    """Slides to train on and slides held out. Raises CohortError when either is empty or they share a
    slide."""

    train: tuple[SlideWithTruth, ...]
    validation: tuple[SlideWithTruth, ...]

    def __post_init__(self) -> None:
        if not self.train or not self.validation:
            raise CohortError(
                "a cohort needs at least one slide to train on and one held out; add slides with truth"
            )
        shared = {pair.slide.resolve() for pair in self.train} & {
            pair.slide.resolve() for pair in self.validation
        }
        if shared:
            names = ", ".join(sorted(path.name for path in shared))
            raise CohortError(
                f"{names}: both trained on and held out; scores would mean nothing. Hold out others."
            )

    def to_json(self) -> dict[str, list[str]]:
        """File names only: a card tells nothing of the machine it was made on."""
        return {
            "train": [pair.slide.name for pair in self.train],
            "validation": [pair.slide.name for pair in self.validation],
        }


def geometry_of(card_input: CardInput) -> InputGeometry:
    """The card's input section as the cutting rule of wsi."""
    return InputGeometry(
        card_input.mpp, card_input.context_ratio, card_input.tiles_per_side, card_input.halo_px
    )
