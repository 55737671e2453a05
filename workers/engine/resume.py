"""Resume a job: check whether this attempt may go on from the files that an earlier one left.

Patches of another model, precision or slide must never end up in one label map, so every attempt states what
makes its labels, and goes on only from files made in exactly that way.
"""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

from model.inference.segmenter import Segmenter
from wsi.reading.slide_info import SlideInfo

from ..jobs import JobFiles
from ..protocol import RunJob
from .provenance import slide_identity, software
from .result import file_facts


def run_identity(run: RunJob, info: SlideInfo, segmenter: Segmenter) -> dict[str, Any]:
    """Return everything the labels of a run depend on, as JSON values."""
    card, device = segmenter.card, segmenter.device.partition(":")[0]
    identity = {
        "slide": slide_identity(Path(run.slide_path), info),
        "model": {
            "name": card.name,
            "sha256": card.weights.sha256,
            "input": asdict(card.input),
            "normalisation": asdict(card.normalisation),
            "onnx": None if card.onnx is None else asdict(card.onnx),
        },
        "parameters": run.parameters.of_labels(),
        "device": device,
        "dtype": segmenter.dtype,
        "compiled": segmenter.compiled,
        "backend": segmenter.backend,
        # What "auto" finds on a GPU is not pinned:
        # docs/decisions/0015-same-slide-same-bytes.md says how far that goes.
        "batch_size": segmenter.batch_size_asked if segmenter.batch_matters else None,
        "software": software(),
    }
    # As it reads back: JSON has no tuples.
    stated: dict[str, Any] = json.loads(json.dumps(identity))
    return stated


def adopt(files: JobFiles, identity: dict[str, Any]) -> bool:
    """Make the directory ready for this run; return whether an earlier attempt finished the job.

    It may have: then all is written and only its last message was lost. Half-written files are removed
    always, whole ones if they were made in another way. The tissue mask stays: it says itself what it was
    made of, and may have been made ahead of the first attempt (see `workers.engine.tissue`).
    """
    for leftover in files.directory.glob(".*.partial"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)
    if stored_json(files.plan).get("run") == identity:
        return _is_finished(files)
    remove_patches(files)
    for path in (files.result, files.plan):
        path.unlink(missing_ok=True)
    return False


def remove_patches(files: JobFiles) -> None:
    """Remove the finished patches of a job, labels and probabilities."""
    for folder in (files.patches, files.probability_patches):
        shutil.rmtree(folder, ignore_errors=True)


def _is_finished(files: JobFiles) -> bool:
    told = stored_json(files.result).get("files", {})
    paths = [files.directory / name for name in told]
    return bool(told) and told == {path.name: file_facts(path) for path in paths if path.exists()}


def stored_json(path: Path) -> dict[str, Any]:
    """Read a JSON object written by an earlier attempt; empty if there is none."""
    try:
        value: dict[str, Any] = json.loads(path.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return {}
    return value
