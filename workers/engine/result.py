"""Describe a finished job: provenance inside the TIFFs, and `result.json`."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from model.card import ModelCard
from model.inference.segmenter import Segmenter
from wsi.atomic import atomic_file
from wsi.geometry import Rect
from wsi.grid import Grid
from wsi.plan import Plan
from wsi.reading.slide_info import SlideInfo
from wsi.region_mask import RegionMask
from wsi.regions_of_interest import RegionsOfInterest
from wsi.rules import TISSUE_RULES
from wsi.writing.pyramid import PyramidSummary

from ..jobs import JobWarning
from ..protocol import RunJob
from .provenance import software, versions

SCHEMA_VERSION = 1
"""Of `result.json`; it grows when a member changes its meaning. Results without it are from before."""


def provenance(
    run: RunJob, info: SlideInfo, card: ModelCard, grid: Grid, warnings: tuple[JobWarning, ...]
) -> dict[str, Any]:
    """Return what made the labels: software, model, mpp, parameters, class names, and the warnings.

    It is the same for every run of the same job, so it may stand inside the TIFFs.
    """
    return {
        "software": software(),
        "model": {"name": card.name, "version": card.version, "sha256": card.weights.sha256},
        "mpp": mpp_facts(info, grid),
        "parameters": parameters(run, grid),
        "class_names": {str(c.value): c.name for c in card.classes},
        "warnings": [asdict(warning) for warning in warnings],
    }


@dataclass(frozen=True, slots=True)
class Finished:
    """A job whose patches are all labelled."""

    run: RunJob
    info: SlideInfo
    segmenter: Segmenter
    plan: Plan
    warnings: tuple[JobWarning, ...]
    labelled_slices: int
    """By this attempt."""
    started: datetime
    """When this attempt started."""


def job_result(
    finished: Finished,
    summary: PyramidSummary,
    stage_seconds: Mapping[str, float],
    files: Iterable[Path],
) -> dict[str, Any]:
    """Return the JSON of `GET /v1/jobs/{id}/result`; `service/result_schema.py` says what its members are.

    Times, seconds, speed and `batch_size` are of the last attempt. `batch_size` is null if that engine
    process has seen no patch of these sizes.
    """
    run, info, segmenter, plan = finished.run, finished.info, finished.segmenter, finished.plan
    grid = plan.grid
    megapixels = sum(len(patch.slices) for patch in plan.patches) * grid.slice_megapixels_l0
    labelled = finished.labelled_slices * grid.slice_megapixels_l0
    # The other stages lie within these three.
    waited = sum(stage_seconds.get(stage, 0.0) for stage in ("plan", "segment", "pyramid"))
    return {
        "schema_version": SCHEMA_VERSION,
        "job": {"id": run.job_id, "attempt": run.attempt},
        "started_at": finished.started.isoformat(),
        "finished_at": datetime.now(UTC).isoformat(),
        "files": {path.name: file_facts(path) for path in files},
        "classes": class_areas(segmenter.card, grid, summary.class_counts),
        "tissue": tissue_facts(grid, summary.class_counts, searched_px(finished)),
        "slide": slide_facts(run, info),
        **provenance(run, info, segmenter.card, grid, finished.warnings),
        "resolved": resolved_parameters(run, info, segmenter, grid),
        "versions": versions(),
        "label_map": {**asdict(grid.label_size), "levels": summary.levels},
        "device": segmenter.device,
        "dtype": segmenter.dtype,
        "compiled": segmenter.compiled,
        "backend": segmenter.backend,
        "batch_size": segmenter.batch_size(grid.patch_view(0, ())),
        "patches": len(plan.patches),
        "megapixels": round(megapixels, 3),
        "megapixels_per_second": round(labelled / waited, 3) if labelled else None,
        "stage_seconds": {stage: round(seconds, 3) for stage, seconds in stage_seconds.items()},
    }


def mpp_facts(info: SlideInfo, grid: Grid) -> dict[str, Any]:
    """Return the slide's mpp, where it came from, and the scale of the label map, in um/px."""
    return {
        "slide": grid.slide_mpp,
        "source": info.mpp.source if info.mpp else None,
        "label": grid.label_mpp,
        "downsample": grid.downsample,
        "resampled": not grid.exact,
    }


def parameters(run: RunJob, grid: Grid) -> dict[str, Any]:
    """Return the request's parameters, with the halo, label px, and window used, and the rules for tissue.

    Outputs are left out: they change nothing in the labels, nor may they in the files.
    """
    asked = run.parameters.of_labels()
    del asked["outputs"]
    return {**asked, "halo_px": grid.halo_px, "window": grid.window}


def resolved_parameters(run: RunJob, info: SlideInfo, segmenter: Segmenter, grid: Grid) -> dict[str, Any]:
    """Return the parameters as they were used, with nothing left to a default."""
    return {
        "mpp": grid.slide_mpp,
        "mpp_source": info.mpp.source if info.mpp else None,
        "halo_px": grid.halo_px,
        "window": grid.window,
        "precision": segmenter.dtype,
        "tissue": run.parameters.tissue,
        "tissue_rules": TISSUE_RULES if run.parameters.tissue else None,
        "tissue_outlines": run.parameters.to_json().get("tissue_outlines"),
        "regions": run.parameters.to_json().get("regions"),
        "outputs": list(run.parameters.outputs),
        "context": grid.context,
        "patch_px": grid.patch_px,
    }


def slide_facts(run: RunJob, info: SlideInfo) -> dict[str, Any]:
    """Return which slide it was: name, sha256 of the upload, size and scanned part in level-0 px."""
    return {
        "name": run.slide_name,
        "sha256": run.slide_sha256,
        "vendor": info.vendor,
        **asdict(info.size),
        "bounds": asdict(info.bounds),
        "megapixels": round(info.size.pixels / 1e6, 3),
    }


def searched_px(finished: Finished) -> float:
    """Return the area where tissue was looked for, label px: what was scanned, within the job's regions."""
    bounds, grid = finished.info.bounds, finished.plan.grid
    scanned = Rect(
        bounds.x // grid.downsample,
        bounds.y // grid.downsample,
        bounds.width // grid.downsample,
        bounds.height // grid.downsample,
    ).intersect(Rect.of(grid.label_size))
    regions = finished.run.parameters.regions
    if regions is None:
        return float(scanned.size.pixels)
    return RegionMask.of(RegionsOfInterest.from_json(regions), grid).area(scanned)


def tissue_facts(grid: Grid, counts: tuple[int, ...], searched: float) -> dict[str, Any]:
    """Return the area that was labelled: in mm2, as fractions, in level-0 megapixels.

    `searched` is where tissue was looked for, label px.
    """
    pixels = sum(counts[1:])
    mm2_per_px = (grid.label_mpp / 1000) ** 2
    return {
        "area_mm2": round(pixels * mm2_per_px, 6),
        "searched_mm2": round(searched * mm2_per_px, 6),
        # Pixels are counted, regions are measured: at their edges these differ.
        "fraction": round(min(1.0, pixels / searched), 6) if searched else 0.0,
        "fraction_of_slide": round(pixels / grid.label_size.pixels, 6),
        "megapixels": round(pixels * grid.downsample**2 / 1e6, 3),
    }


def class_areas(card: ModelCard, grid: Grid, counts: tuple[int, ...]) -> list[dict[str, Any]]:
    """Return the area of each class in mm2 and as a fraction of the analysed tissue."""
    tissue = sum(counts[1:])
    mm2_per_px = (grid.label_mpp / 1000) ** 2
    return [
        {
            "value": c.value,
            "name": c.name,
            "colour": list(c.colour),
            "pixels": counts[c.value],
            "area_mm2": round(counts[c.value] * mm2_per_px, 6),
            "fraction": round(counts[c.value] / tissue, 6) if tissue else 0.0,
        }
        for c in card.classes
    ]


def file_facts(path: Path) -> dict[str, Any]:
    """Return the size in bytes and the sha256 of a result file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def write_json(path: Path, value: Mapping[str, Any]) -> None:
    """Write JSON so that a reader sees the old file or the whole new one."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1), encoding="ascii")
