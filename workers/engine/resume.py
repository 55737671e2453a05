"""Resume a job: check what an earlier attempt left, and what of it this one may go on from.

Patches of another model, precision or slide must never end up in one label map, so every attempt states what
makes its labels, and keeps its patches in a folder of that name. Nothing is removed before the job is
finished: an attempt that counts as lost may still be at work.
"""

import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from model.inference.segmenter import Segmenter
from wsi.reading.slide_info import SlideInfo

from ..errors import RecordInvalidError
from ..identity import LabelIdentity
from ..jobs import JobFiles
from ..protocol import RunJob
from .hooks import Hooks
from .provenance import slide_identity, software
from .result import file_facts


def run_identity(run: RunJob, info: SlideInfo, segmenter: Segmenter) -> LabelIdentity:
    """Return everything the labels of a run depend on."""
    card = segmenter.card
    return LabelIdentity(
        slide=slide_identity(Path(run.slide_path), info, run.slide_sha256),
        model={
            "name": card.name,
            "sha256": card.weights.sha256,
            "input": asdict(card.input),
            "normalisation": asdict(card.normalisation),
            "onnx": None if card.onnx is None else asdict(card.onnx),
        },
        parameters=run.parameters.of_labels(),
        device=device_kind(segmenter.device),
        dtype=segmenter.dtype,
        backend=f"torch {torch.__version__}" if segmenter.backend == "torch" else segmenter.backend,
        software=software(),
        compiled=segmenter.compiled,
        # What "auto" finds on a GPU is not pinned:
        # docs/decisions/0015-same-slide-same-bytes.md says how far that goes.
        batch_size=segmenter.batch_size_asked if segmenter.batch_matters else None,
    )


def device_kind(device: str) -> str:
    """Return the kind of a torch device: of a GPU its card, of a CPU the instructions that torch uses."""
    kind = device.partition(":")[0]
    if kind == "cuda" and torch.cuda.is_available():
        return f"cuda {torch.cuda.get_device_name(device)}"
    return f"cpu {torch.backends.cpu.get_cpu_capability()}" if kind == "cpu" else kind


def adopt(files: JobFiles, identity: LabelIdentity) -> bool:
    """Return whether an earlier attempt finished the job, on whatever host.

    It may have: then all is written and only its last message was lost. Results of another slide, model or
    parameters are removed: the folder was another job's. All else stays where it is.
    """
    if _made_by(files, identity):
        return _is_finished(files)
    for path in (files.result, files.plan):
        path.unlink(missing_ok=True)
    return False


def _made_by(files: JobFiles, identity: LabelIdentity) -> bool:
    """Return whether the plan is of the same job."""
    try:
        made = LabelIdentity.from_json(json.dumps(stored_json(files.plan).get("run")))
    except RecordInvalidError:
        return False
    return LabelIdentity.from_json(identity.to_json()).is_of_job(made)


def clean(files: JobFiles, hooks: Hooks) -> None:
    """Remove all that a finished job does not need any more: patches of all kinds, half-written files."""
    if not hooks.may_clean():
        return
    for folder in (files.patches, files.probability_patches):
        shutil.rmtree(folder, ignore_errors=True)
    for leftover in files.directory.glob(".*.partial"):
        if leftover.is_dir():
            shutil.rmtree(leftover, ignore_errors=True)
        else:
            leftover.unlink(missing_ok=True)


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
