"""Find the warnings of a job: what a reader should know before believing its labels.

All of them depend on slide, model and parameters alone, so that a resumed job has the same.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from model.card import ColourStatistics, ModelCard
from wsi.appearance import Appearance, tissue_appearance
from wsi.phantom.mark import is_phantom_slide
from wsi.plan import Plan
from wsi.reading.slide import Slide, open_slide
from wsi.tissue import TissueMask

from ..jobs import JobWarning, Progress
from ..protocol import RunJob

SAME_MPP = 0.01
"""Relative difference up to which a requested mpp is that of the file."""

BLURRED_BELOW = 0.25
"""Sharpness of tissue out of focus. In-focus slides tried have 0.5 to 0.8; blurred by a Gaussian of 1.1 um
they come to about 0.25."""

MAX_DENSITY = 1.5
"""Mean optical density above which tissue is too dark for a stained section in transmitted light."""

MIN_GREEN_SHARE = 0.38
"""Share of green in the optical density of H&E: haematoxylin alone has 0.42, eosin more, grey 0.33, a brown
stain less."""

FAR_DEVIATIONS = 4.0
MIN_DEVIATION = 0.03
"""How many deviations between training slides are far, and the least that counts as one, optical density."""


def job_warnings(
    run: RunJob, slide: Slide, card: ModelCard, plan: Plan, tissue: TissueMask
) -> tuple[JobWarning, ...]:
    """Return the warnings of a job, in a fixed order.

    Raises:
        SlideUnreadableError: pixels of the slide cannot be decoded.
    """
    path = Path(run.slide_path)
    warnings = [*_of_model(card, path), *_of_mpp(run, slide, path)]
    if not plan.patches:
        where = " in the regions" if run.parameters.regions else ""
        warnings.append(JobWarning("no-tissue", f"No tissue was found{where}: nothing is labelled."))
    elif (appearance := tissue_appearance(slide, plan, tissue)) is not None:
        warnings += _of_appearance(appearance, card.colours)
    return tuple(warnings)


def telling(
    report: Callable[[Progress], None], warnings: tuple[JobWarning, ...]
) -> Callable[[Progress], None]:
    """Return `report` with the warnings in all that it is told."""
    return lambda progress: report(replace(progress, warnings=warnings))


def _of_model(card: ModelCard, path: Path) -> Iterator[JobWarning]:
    if card.phantom and not is_phantom_slide(path):
        yield JobWarning(
            "phantom-weights",
            f"The model {card.name} knows synthetic phantom slides only, and this is none: its labels mean "
            "nothing.",
        )
    names = {label.value: label.name for label in card.classes}
    for value in card.untrained:
        yield JobWarning(
            "class-untrained",
            f"The model {card.name} has never seen the class {names[value]} in training: where it labels it, "
            "or should have, means nothing.",
        )


def _of_mpp(run: RunJob, slide: Slide, path: Path) -> Iterator[JobWarning]:
    used = slide.info.mpp
    if used is None:
        return
    if used.source == "objective-power":
        yield JobWarning(
            "mpp-guessed",
            f"The pixel size of {used.value:g} um is a guess from the objective power of "
            f"{slide.info.objective_power:g}. If it is wrong, so are scale and areas: send mpp=.",
        )
    if run.parameters.mpp is not None:
        with open_slide(path) as as_it_is:
            stated = as_it_is.info.mpp
        if stated is not None and abs(stated.value / used.value - 1) > SAME_MPP:
            yield JobWarning(
                "mpp-overridden",
                f"The request's pixel size of {used.value:g} um was used; the slide says {stated.value:g} um "
                f"({stated.source}).",
            )


def _of_appearance(look: Appearance, trained: ColourStatistics | None) -> Iterator[JobWarning]:
    density = ", ".join(f"{value:.2f}" for value in look.optical_density)
    if trained is not None:
        if _is_far(look, trained):
            expected = ", ".join(f"{value:.2f}" for value in trained.mean)
            yield JobWarning(
                "colours-unlike-training",
                f"The tissue's colours (optical density of red, green, blue: {density}) are far from those "
                f"that the model was trained on ({expected}).",
            )
    elif not _is_like_h_and_e(look):
        yield JobWarning(
            "colours-unlike-h-and-e",
            f"The tissue's colours (optical density of red, green, blue: {density}) are not those of a "
            "section stained with haematoxylin and eosin.",
        )
    if look.sharpness < BLURRED_BELOW:
        yield JobWarning(
            "blurred",
            f"The tissue looks out of focus at the model's scale (sharpness {look.sharpness:.2f}; in focus "
            "it is 0.5 or more).",
        )


def _is_far(look: Appearance, trained: ColourStatistics) -> bool:
    return any(
        abs(value - mean) > FAR_DEVIATIONS * max(deviation, MIN_DEVIATION)
        for value, mean, deviation in zip(look.optical_density, trained.mean, trained.std, strict=True)
    )


def _is_like_h_and_e(look: Appearance) -> bool:
    densities = look.optical_density
    green_share = densities[1] / sum(densities)
    return max(densities) <= MAX_DENSITY and green_share >= MIN_GREEN_SHARE
