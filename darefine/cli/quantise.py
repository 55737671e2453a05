"""Command `darefine models quantise`: make the int8 form of a model, and say how its labels compare."""

import tempfile
from pathlib import Path

import click

from model.card import ModelCard
from workers.settings import WorkerSettings
from wsi.phantom import write_phantom

from .demo import PHANTOM_VERSION
from .listing import print_rows
from .model_files import card_of, model_argument
from .progress_bar import progress_bar

PHANTOM_SEEDS = (501, 502)
PHANTOM_PX = 12_288


@click.command()
@model_argument
@click.option(
    "--slide",
    "slides",
    type=click.Path(exists=True, path_type=Path),
    multiple=True,
    help="Slide like those to come; may be given several times.  [default: phantoms, for phantom models]",
)
@click.option("--mpp", type=float, help="Micrometres per level-0 pixel.  [default: what the slides say]")
@click.option(
    "--patches",
    type=click.IntRange(min=1),
    default=12,
    show_default=True,
    help="Patches to calibrate with, five slices each, and as many others to check on.",
)
def quantise(model: str | None, slides: tuple[Path, ...], mpp: float | None, patches: int) -> None:
    """Quantise MODEL to int8 for DAREFINE_PRECISION=int8, once for each machine and version of OpenVINO.

    MODEL is what `darefine models check` takes. Its labels are compared with those of fp32 on patches that it
    was not calibrated with; below 99.5 % of tissue alike it is refused, with exit code 1. The result goes
    into DAREFINE_DATA_DIR; the training slides, or any ten of yours, are good slides to give.
    """
    # torch takes a second to load
    from model.evaluation.sample_patches import sample_patches  # noqa: PLC0415
    from model.inference.int8_graph import Int8Files  # noqa: PLC0415
    from model.inference.quantise import quantise as quantise_network  # noqa: PLC0415

    settings = WorkerSettings()
    path = card_of(settings, model)
    card = ModelCard.load(path)
    if not slides and not card.phantom:
        raise click.UsageError(
            f"{card.name} is for real slides: name some that are like yours with --slide, best five or more."
        )
    with tempfile.TemporaryDirectory() as temporary, progress_bar() as show:
        slides = slides or _phantoms(Path(temporary))
        calibration, check = sample_patches(slides, card, patches=patches, mpp=mpp)
        report = quantise_network(path, calibration, check, settings.int8_dir, slides=len(slides), step=show)
        show("compare", 1.0)
    if not report.good:
        raise click.ClickException(report.verdict(card.name))
    facts = [
        ("calibrated with", f"{report.calibration_slices} slices of {report.slides} slides"),
        ("same label as fp32", f"{100 * report.agreement:.2f} % of {report.checked_px} tissue px elsewhere"),
        ("file", str(Int8Files.of(settings.int8_dir, card).graph)),
        ("switch it on", "DAREFINE_PRECISION=int8"),
    ]
    print_rows(("model", f"{card.name}, version {card.version}"), facts)


def _phantoms(folder: Path) -> tuple[Path, ...]:
    """Write the phantom slides that phantom models are quantised with."""
    return tuple(
        write_phantom(folder / f"{seed}.tif", size_px=PHANTOM_PX, seed=seed, version=PHANTOM_VERSION).slide
        for seed in PHANTOM_SEEDS
    )
