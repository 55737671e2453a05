"""Command `darefine prepare slides`: index slides with classes and annotations of one's own."""

import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Literal

import click

from model.data.annotated_folder import AnnotatedFile, find_annotated
from model.data.class_scheme import ClassScheme
from model.data.own_slides import examine, prepare_slides
from model.data.patients import read_patients
from model.data.presets import PRESETS
from model.data.shapes import listed
from model.data.slices import PAPER_INPUT, Quota
from model.data.splits import Split, own_split
from model.errors import CohortError

from .prepare_options import DEFAULT_FOLDER, context_option, index_option, mpp_option, seed_option
from .prepare_report import finish_index
from .progress_bar import progress_bar

HELD_OUT = "0.2"
"""Share of the patients that is held out for validation, and for the test, if nothing is said."""

FOLDER = click.Path(path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


@click.command()
@click.argument("folders", metavar="DIR...", nargs=-1, required=True, type=FOLDER)
@click.option(
    "--classes",
    required=True,
    metavar="FILE|NAME",
    help=f"JSON with the classes and their names in the annotations, or a preset: {', '.join(PRESETS)}.",
)
@click.option("--annotations", type=FOLDER, help="Folder of the annotations.  [default: beside the slides]")
@click.option(
    "--bare",
    type=click.Choice(["leave-out", "unlabelled"]),
    default="leave-out",
    show_default=True,
    help="Slides without annotations: left out, or unlabelled all over (normal slides of CAMELYON16).",
)
@index_option
@click.option("--patients", type=FILE, help="CSV with columns slide, patient and, for sets of your own, set.")
@click.option(
    "--validation",
    help="SLIDE,SLIDE,... or PATIENT,..., or a fraction of the patients, at least one.  "
    f"[default: {HELD_OUT}]",
)
@click.option("--test", help=f"The same, for the test; '' for none.  [default: {HELD_OUT}, none of two]")
@mpp_option
@context_option(PAPER_INPUT.context_ratio)
@click.option(
    "--slices",
    nargs=3,
    type=click.IntRange(min=0),
    metavar="TRAIN VALIDATION TEST",
    help="Plan this many slices, for the paper's recipe.  [default: random patches, classes in balance]",
)
@seed_option
def slides(
    folders: tuple[Path, ...],
    *,
    classes: str,
    annotations: Path | None,
    bare: Literal["leave-out", "unlabelled"],
    out: Path | None,
    patients: Path | None,
    validation: str | None,
    test: str | None,
    mpp: float,
    context_ratio: int,
    slices: tuple[int, int, int] | None,
    seed: int,
) -> None:
    """Your own slides, with classes of your own.

    DIR holds slides of any format, and beside slide.svs its annotations: slide.geojson (QuPath), slide.xml
    (ImageScope, ASAP) or slide-labels.png or .tif (class codes).
    """
    started = time.perf_counter()
    scheme = PRESETS.get(classes) or ClassScheme.load(Path(classes))
    found = find_annotated(folders, annotations, keep_bare=bare == "unlabelled", ignore=Path(classes))
    split, notes = _split(found.slides, scheme, patients, validation, test, seed)
    if found.bare:
        notes += (f"Slides without annotations are passed over: {listed(found.bare)}",)
    card_input = replace(PAPER_INPUT, mpp=mpp, context_ratio=context_ratio)
    out = out or folders[0] / DEFAULT_FOLDER
    with progress_bar() as show:
        prepared = prepare_slides(found.slides, out, split, card_input, scheme, progress=show)
    quotas = _quotas(slices)
    source = classes if classes in PRESETS else "own slides"
    index = prepared.index(source, scheme.labels, card_input, quotas, seed=seed)
    finish_index(index, prepared, quotas, out, started, notes)


def _split(
    files: Mapping[str, AnnotatedFile],
    scheme: ClassScheme,
    patients: Path | None,
    validation: str | None,
    test: str | None,
    seed: int,
) -> tuple[Split, tuple[str, ...]]:
    """Return the sets, and notes on how they came about."""
    holds = examine(files, scheme)
    table = read_patients(patients, list(files)) if patients else None
    notes: tuple[str, ...] = ()
    if table is not None and table.unknown:
        notes = (f"{patients} names slides that are not there: {listed(table.unknown)}",)
    if table is not None and table.split is not None:
        if validation or test:
            raise click.UsageError(f"{patients} states the sets; leave out --validation and --test")
        return table.split, notes
    owners = table.patients if table else {name: name for name in files}
    count = len(set(owners.values()))
    if count < 2:
        raise CohortError(
            f"there is one {'patient' if table else 'slide'} with annotations; it takes one to learn from "
            "and another to validate on"
        )
    test = (HELD_OUT if count > 2 else "") if test is None else test
    validation = HELD_OUT if validation is None else validation
    split = own_split(list(files), validation, test, seed=seed, patients=owners, holds=holds)
    return split, notes


def _quotas(slices: tuple[int, int, int] | None) -> Mapping[str, Quota]:
    names = ("train", "validation", "test")
    return {name: Quota(wanted, None) for name, wanted in zip(names, slices or (), strict=False)}
