"""Command `darefine prepare images`: a folder of images with masks becomes an index."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import click
from rich import box
from rich.console import Console
from rich.table import Column, Table

from model.data.image_folder import Coding, PreparedImage, index_images, prepare_images
from model.data.image_list import TCGA_PATIENT, ListedImage, images_of_folders, images_of_index, split_images
from model.data.slices import PAPER_INPUT
from model.data.splits import own_split

from .prepare_options import mpp_option, seed_option
from .progress_bar import progress_bar

MPP = click.FloatRange(0.01, 20)


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--classes",
    "description",
    required=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="JSON that describes the data set: members data_set, classes with their mask codes, ignore.",
)
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True, metavar="INDEX_DIR")
@click.option(
    "--index",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="CSV with the columns image, mask, split and that of --group.  [default: all files of both folders]",
)
@click.option("--images", default="images", show_default=True, help="Folder in DIR, without --index.")
@click.option("--masks", default="masks", show_default=True, help="Folder in DIR, without --index.")
@click.option(
    "--group",
    help="What must not be torn between sets: a column of the index [default: patient], or a regular "
    "expression for file names [default: TCGA's patients].",
)
@click.option(
    "--leave-out",
    metavar="COLUMN=VALUE",
    multiple=True,
    help="Rows of the index that are not trained on; validation and test keep theirs.",
)
@click.option(
    "--validation", default="0.15", show_default=True, help="Groups, or a fraction; without --index."
)
@click.option("--test", default="0.2", show_default=True, help="The same, for the test.")
@click.option(
    "--image-mpp",
    type=(MPP, MPP),
    metavar="WIDTH HEIGHT",
    help="Pixel size of the images, um; they may have been squeezed.  [default: MPP-0.25 in the file name]",
)
@mpp_option
@seed_option
def images(
    folder: Path,
    *,
    description: Path,
    out: Path,
    index: Path | None,
    images: str,
    masks: str,
    group: str | None,
    leave_out: tuple[str, ...],
    validation: str,
    test: str,
    image_mpp: tuple[float, float] | None,
    mpp: float,
    seed: int,
) -> None:
    """Images with masks of class codes, such as EBHI-SEG or BCSS: each becomes a small slide with truth.

    A mask has one channel, the code of each pixel's class, and the size of its image. Such images say nothing
    of what surrounds them: train a network that sees no context on them.
    """
    started = time.perf_counter()
    coding, conditions = Coding.load(description), _conditions(leave_out)
    if index is not None:
        listed = images_of_index(folder, index, image_mpp, group=group or "patient", leave_out=conditions)
    elif conditions:
        raise click.UsageError("--leave-out is for rows of an --index")
    else:
        found = images_of_folders(folder / images, folder / masks, image_mpp, group=group or TCGA_PATIENT)
        groups = sorted({image.group for image in found})
        listed = split_images(found, own_split(groups, validation, test, seed=seed))
    geometry = replace(PAPER_INPUT, mpp=mpp)
    with progress_bar() as show:
        prepared = prepare_images(
            listed, out, coding, geometry, progress=lambda name, share: show("images", share, facts=name)
        )
    path, seconds = out / "index.json", time.perf_counter() - started
    index_images(prepared, coding, geometry).save(path)
    Console().print(_summary(listed, prepared, coding, mpp))
    click.echo(f"{path} in {seconds:.0f} s; train on it: darefine train OUT --data {path}")


def _conditions(texts: Sequence[str]) -> dict[str, str]:
    pairs = [text.partition("=") for text in texts]
    if wrong := [
        text for text, (column, equals, _) in zip(texts, pairs, strict=True) if not (column and equals)
    ]:
        raise click.BadParameter(f"{wrong[0]} is not COLUMN=VALUE", param_hint="--leave-out")
    return {column: value for column, _, value in pairs}


def _summary(
    listed: Mapping[str, Sequence[ListedImage]],
    prepared: Mapping[str, Sequence[PreparedImage]],
    coding: Coding,
    mpp: float,
) -> Table:
    """Return the table of images, groups and the area of each class, set by set."""
    names = ("groups", "images", *(entry.name for entry in coding.classes), "none")
    columns = (Column(name, justify="right") for name in names)
    table = Table(Column("set"), *columns, title="Truth, mm²", box=box.SIMPLE_HEAD)
    for name, images in prepared.items():
        groups = {image.group for image in listed[name]}
        areas = [sum(counts) * mpp**2 / 1e6 for counts in zip(*(one.pixels for one in images), strict=True)]
        cells = [f"{area:.2f}" for area in (*areas[1:], *areas[:1])]
        table.add_row(name, str(len(groups)), str(len(images)), *cells)
    return table
