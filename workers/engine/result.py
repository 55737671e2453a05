"""Describe a finished job: provenance inside the TIFFs, and `result.json`."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model.card import ModelCard
from model.inference.segmenter import Segmenter
from wsi.atomic import atomic_file
from wsi.grid import Grid
from wsi.plan import Plan
from wsi.reading.slide_info import SlideInfo
from wsi.writing.pyramid import PyramidSummary

from ..jobs import JobFiles
from ..protocol import RunJob
from .provenance import software


def provenance(run: RunJob, info: SlideInfo, card: ModelCard, grid: Grid) -> dict[str, Any]:
    """Return what made the labels: software, model, mpp, parameters and class names.

    It is the same for every run of the same job, so it may stand inside the TIFFs.
    """
    return {
        "software": software(),
        "model": {"name": card.name, "version": card.version, "sha256": card.weights.sha256},
        "mpp": mpp_facts(info, grid),
        "parameters": parameters(run, grid),
        "class_names": {str(c.value): c.name for c in card.classes},
    }


def job_result(
    run: RunJob,
    info: SlideInfo,
    segmenter: Segmenter,
    plan: Plan,
    summary: PyramidSummary,
    stage_seconds: Mapping[str, float],
    labelled_slices: int,
    files: JobFiles,
) -> dict[str, Any]:
    """Return the JSON of `GET /v1/jobs/{id}/result`: files, class areas, mpp, model, parameters, times.

    Seconds, speed and `batch_size` are of the last attempt, which labelled `labelled_slices`. `batch_size` is
    null if that engine process has seen no patch of these sizes.
    """
    grid = plan.grid
    megapixels = sum(len(patch.slices) for patch in plan.patches) * grid.slice_megapixels_l0
    labelled = labelled_slices * grid.slice_megapixels_l0
    # The other stages lie within these three.
    waited = sum(stage_seconds.get(stage, 0.0) for stage in ("plan", "segment", "pyramid"))
    return {
        "files": {path.name: file_facts(path) for path in (files.overlay, files.labels)},
        "classes": class_areas(segmenter.card, grid, summary.class_counts),
        "slide": {"name": run.slide_name, "vendor": info.vendor, **asdict(info.size)},
        **provenance(run, info, segmenter.card, grid),
        "label_map": {**asdict(grid.label_size), "levels": summary.levels},
        "device": segmenter.device,
        "dtype": segmenter.dtype,
        "compiled": segmenter.compiled,
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
    """Return the request's parameters, with the halo that was really used, in label pixels."""
    return {**asdict(run.parameters), "halo_px": grid.halo_px}


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
