"""Make the results that a job asked for by name, from its slide, its patches and its pyramids.

Libraries of extras are imported by the outputs that need them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from model.card import ModelCard
from model.inference.probabilities import temperature_of
from wsi.errors import OutputUnavailableError
from wsi.grid import Grid
from wsi.preview import write_preview
from wsi.writing.geojson import write_regions
from wsi.writing.output_extras import check_outputs, without_probabilities
from wsi.writing.pyramid import PyramidSummary, write_quantity_pyramid
from wsi.writing.region_options import MIN_AREA_UM2, TOLERANCE_UM, RegionOptions
from wsi.writing.tissue_outline import write_tissue

from ..jobs import JobFiles, keeps_probabilities
from ..protocol import RunJob
from .confidence import confidence_facts
from .provenance import software
from .segment import PatchRun

if TYPE_CHECKING:
    from wsi.writing.dicom_seg import SegmentationOrigin

Report = Callable[[float], None]
"""Called with fractions up to 1; what it raises ends the work."""


@dataclass(frozen=True, slots=True)
class Labelled:
    """A job whose label pyramids are written, and whose patches are still there."""

    run: RunJob
    patches: PatchRun
    files: JobFiles
    description: Mapping[str, Any]
    """What made the labels, as it stands in their TIFFs."""
    summary: PyramidSummary

    @property
    def card(self) -> ModelCard:
        """The model's card."""
        return self.patches.segmenter.card


@dataclass(frozen=True, slots=True)
class Outputs:
    """What was made."""

    files: tuple[Path, ...] = ()
    facts: Mapping[str, Any] = field(default_factory=dict)
    """Members of `result.json`."""


def write_outputs(names: tuple[str, ...], job: Labelled, report: Report) -> Outputs:
    """Write the outputs `names` beside the pyramids; return the files and the members of `result.json`.

    Raises:
        WsiError: a map cannot be read back, or a file not written.
        OSError: the disk is full.
    """
    files: list[Path] = []
    facts: dict[str, Any] = {}
    for number, name in enumerate(names):

        def part(share: float, number: int = number) -> None:
            report((number + share) / len(names))

        made = _WRITERS[name](job, part)
        files.extend(made.files)
        facts |= made.facts
    return Outputs(tuple(files), facts)


def require_outputs(run: RunJob, vendor: str, card: ModelCard, grid: Grid) -> None:
    """Check, before it is labelled, that outputs can be made of a slide of the format `vendor`.

    Raises:
        OutputUnavailableError: one cannot.
    """
    check_outputs(run.parameters.outputs, vendor)
    if keeps_probabilities(run.parameters.outputs) and not card.gives_probabilities:
        raise OutputUnavailableError(without_probabilities(card.name))
    if "dicom_seg" in run.parameters.outputs:
        from wsi.writing.dicom_seg import segmentation_header

        segmentation_header(Path(run.slide_path), grid, _origin(card))


def _regions(job: Labelled, report: Report) -> Outputs:
    path = job.files.regions(TOLERANCE_UM, MIN_AREA_UM2)
    write_regions(job.files.labels, path, RegionOptions(job.card.palette), report)
    return Outputs((path,))


def _tissue(job: Labelled, _: Report) -> Outputs:
    write_tissue(job.patches.tissue, job.patches.plan.grid, job.files.tissue_outlines)
    return Outputs((job.files.tissue_outlines,))


def _probabilities(job: Labelled, report: Report) -> Outputs:
    assert job.patches.probabilities is not None, "keeps_probabilities sees to that"
    meaning = {
        "of": "the label at the same place in labels.tif",
        "scale": "value / 255; 0 = not analysed",
        "calibrated": job.card.calibration is not None,
        "temperature": temperature_of(job.card),
    }
    write_quantity_pyramid(
        job.patches.probabilities,
        job.patches.plan.grid,
        {**job.description, "probability": meaning},
        job.files.probabilities,
        channel="probability of the label",
        threads=torch.get_num_threads(),
        progress=report,
    )
    return Outputs((job.files.probabilities,))


def _confidence(job: Labelled, report: Report) -> Outputs:
    patches, probabilities = job.patches, job.patches.probabilities
    assert probabilities is not None, "keeps_probabilities sees to that"
    facts = confidence_facts(job.card, patches.plan, patches.store, probabilities, report)
    return Outputs(facts={"confidence": facts})


def _preview(job: Labelled, report: Report) -> Outputs:
    write_preview(
        job.patches.slide,
        job.files.labels,
        job.patches.plan.grid,
        job.card.palette,
        job.files.preview,
        counts=job.summary.class_counts,
        title=f"{job.card.title} ({job.card.name} {job.card.version})",
        progress=report,
    )
    return Outputs((job.files.preview,))


def _dicom_seg(job: Labelled, report: Report) -> Outputs:
    from wsi.writing.dicom_seg import write_dicom_seg

    slide, grid, out = Path(job.run.slide_path), job.patches.plan.grid, job.files.dicom_seg
    write_dicom_seg(slide, job.files.labels, grid, _origin(job.card), out, report)
    return Outputs((out,))


def _origin(card: ModelCard) -> "SegmentationOrigin":
    from wsi.writing.dicom_seg import SegmentationOrigin

    return SegmentationOrigin(card.name, card.version, card.weights.sha256, card.palette, software())


def _ome_zarr(job: Labelled, report: Report) -> Outputs:
    from wsi.writing.ome_zarr import write_ome_zarr

    grid = job.patches.plan.grid
    write_ome_zarr(job.files.labels, grid, job.card.palette, job.files.ome_zarr, report)
    return Outputs((job.files.ome_zarr,))


_WRITERS: Mapping[str, Callable[[Labelled, Report], Outputs]] = {
    "regions.geojson": _regions,
    "tissue.geojson": _tissue,
    "probabilities": _probabilities,
    "confidence": _confidence,
    "preview": _preview,
    "dicom_seg": _dicom_seg,
    "ome_zarr": _ome_zarr,
}
