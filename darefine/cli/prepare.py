"""Command `darefine prepare`: make the index of slides and truths that `train` and `evaluate` read."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from model.data.bach import BACH_CLASSES, Glass, annotated_slides, prepare_annotated
from model.data.phantom import HELD_OUT_PX, PHANTOM_CLASSES, prepare_phantoms
from model.data.slices import PAPER_INPUT, PAPER_QUOTAS, Quota
from model.data.splits import BACH_SPLITS, Split, own_split
from model.training.from_scratch_recipe import PHANTOM_INPUT
from wsi.phantom import Version

from .phantom import version_option
from .prepare_images import images
from .prepare_options import DEFAULT_FOLDER, context_option, index_option, mpp_option, seed_option
from .prepare_report import finish_index
from .prepare_slides import slides
from .progress_bar import progress_bar

Command = Callable[..., Any]

slices_option = click.option(
    "--slices",
    nargs=3,
    type=click.IntRange(min=0),
    default=tuple(quota.slices for quota in PAPER_QUOTAS.values()),
    show_default=True,
    metavar="TRAIN VALIDATION TEST",
    help="Slices wanted, the paper's numbers by default: 2/3 of the first and 3/4 of the last "
    "with benign or in situ.",
)


@click.group()
def prepare() -> None:
    """Make the index of slides and truths that `train` and `evaluate` read."""


prepare.add_command(images)


@prepare.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@index_option
@click.option(
    "--split",
    type=click.Choice(list(BACH_SPLITS)),
    default=None,
    help="Of A01..A10. paper (default): train 2-4, 6-9, validation 10, test 5. "
    "released: train 2-4, 6-9, validation 1, test 5, 10 "
    "(the released lists train on 1 too and have no validation).",
)
@click.option("--validation", default="", help="For other slides: STEM,STEM,... or a fraction like 0.2.")
@click.option("--test", default="", help="The same, for the slides of the test.")
@click.option(
    "--glass",
    type=click.Choice(["normal", "ignore"]),
    default="normal",
    show_default=True,
    help="What unannotated glass is: class normal, as in the paper, or no truth.",
)
@mpp_option
@context_option(PAPER_INPUT.context_ratio)
@slices_option
@seed_option
def bach(
    folder: Path,
    *,
    out: Path | None,
    split: str | None,
    validation: str,
    test: str,
    glass: Glass,
    mpp: float,
    context_ratio: int,
    slices: tuple[int, int, int],
    seed: int,
) -> None:
    """Slides with Aperio ImageScope XML beside them: ICIAR2018 (BACH) part B, or your own.

    DIR holds A01.svs, A01.xml and so on; any slide format, with the XML of the same name. Pixels in a region
    have the class that its Attribute Value or Text names ("Carcinoma in situ", "benign", ...); all others are
    normal.
    """
    started = time.perf_counter()
    out = out or folder / DEFAULT_FOLDER
    chosen = _split(folder, split, validation, test, seed)
    card_input = replace(PAPER_INPUT, mpp=mpp, context_ratio=context_ratio)
    with progress_bar() as show:
        prepared = prepare_annotated(folder, out, chosen, card_input, glass=glass, progress=show)
    quotas = _quotas(slices)
    index = prepared.index("bach", BACH_CLASSES, card_input, quotas, seed=seed)
    finish_index(index, prepared, quotas, out, started)


@prepare.command()
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--slides", "train", type=click.IntRange(min=1), default=24, show_default=True, help="To train on."
)
@click.option(
    "--validation", type=click.IntRange(min=1), default=2, show_default=True, help="Slides held out."
)
@click.option(
    "--test", type=click.IntRange(min=0), default=2, show_default=True, help="Slides kept for the test."
)
@click.option(
    "--size",
    "size_px",
    type=click.IntRange(min=1024),
    default=12_288,
    show_default=True,
    help="Side of a slide to train on, level-0 pixels.",
)
@click.option(
    "--held-out-size",
    "held_out_px",
    type=click.IntRange(min=1024),
    default=HELD_OUT_PX,
    show_default=True,
    help="Side of the others; large ones hold all four classes.",
)
@click.option(
    "--plan", is_flag=True, help="Plan slices as for BACH; else training and test go to all places."
)
@context_option(PHANTOM_INPUT.context_ratio)
@slices_option
@seed_option
@version_option
def phantom(
    out: Path,
    *,
    plan: bool,
    context_ratio: int,
    slices: tuple[int, int, int],
    seed: int,
    version: Version,
    **made: int,
) -> None:
    """Synthetic slides in OUT/slides, and their index: what `bach` makes, for machines without its files.

    Slides that are there from an earlier run are kept.
    """
    started = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    with progress_bar() as show:
        prepared = prepare_phantoms(out, seed=seed, version=version, progress=show, **made)
    card_input = replace(PAPER_INPUT, context_ratio=context_ratio)
    quotas = _quotas(slices) if plan else {}
    index = prepared.index("phantom", PHANTOM_CLASSES, card_input, quotas, seed=seed)
    finish_index(index, prepared, quotas, out, started)


prepare.add_command(slides)


def _split(folder: Path, split: str | None, validation: str, test: str, seed: int) -> Split:
    if not validation and not test:
        return BACH_SPLITS[split or "paper"]
    if split is not None:
        raise click.UsageError("--split is for A01..A10; leave it out with --validation and --test.")
    return own_split(sorted(annotated_slides(folder)), validation, test, seed=seed)


def _quotas(slices: tuple[int, int, int]) -> Mapping[str, Quota]:
    """Return the paper's quotas scaled to the slices wanted, set by set."""
    return {
        name: replace(
            paper,
            slices=wanted,
            rare=None if paper.rare is None else round(wanted * paper.rare / paper.slices),
        )
        for (name, paper), wanted in zip(PAPER_QUOTAS.items(), slices, strict=True)
    }
