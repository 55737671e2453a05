"""Competitor `ours`: the pipeline that this service's model process runs for a job."""

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from model.card import ModelCard
from model.inference.cpu_tuning import tune_malloc
from model.inference.int8_graph import Int8Files
from model.inference.openvino_backend import OpenVinoBackend
from model.inference.segmenter import Segmenter
from model.network.build import build_network
from model.weights import load_weights
from workers.bench.measure import stand_in_of, warm_up
from workers.engine.pipeline import run_pipeline
from workers.jobs import JobFiles, JobParameters
from workers.protocol import RunJob
from wsi.geometry import Rect
from wsi.writing.label_tiff import LabelTiff

from .process import answer, task_of_this_process, timed, versions
from .task import BATCH_SLICES, Outcome, Task


def main() -> None:
    """Run the task of this process and leave its answer."""
    tune_malloc()
    task = task_of_this_process()
    segmenter, run = segmenter_of(task), run_of(task)
    warm_up(segmenter, run)
    timing = timed(lambda: run_pipeline(run, segmenter, lambda _: None, lambda: False))
    files = JobFiles(Path(run.directory))
    result = json.loads(files.result.read_text(encoding="ascii"))
    outcome = Outcome(
        timing.seconds,
        timing.peak_mb,
        segmenter.dtype,
        result["parameters"]["halo_px"],
        torch.get_num_threads(),
        versions("darefine", "numpy"),
        result["stage_seconds"],
        result["megapixels"],
    )
    answer(task, outcome, labels_of(files))


def segmenter_of(task: Task) -> Segmenter:
    """Return the task's network as the service runs it, on the CPU."""
    if task.int8_dir is not None:
        return in_int8(Path(task.card), Path(task.int8_dir))
    precision = "fp32" if task.like_peers else "auto"
    segmenter = Segmenter.load(Path(task.card), device="cpu", precision=precision, batch_size=BATCH_SLICES)
    return stand_in_of(segmenter, BATCH_SLICES) if task.stand_in else segmenter


def in_int8(path: Path, folder: Path) -> Segmenter:
    """Return a network in int8, also where its labels differ so much that the service would refuse it."""
    card = ModelCard.load(path)
    network = build_network(card.network, len(card.classes))
    load_weights(network, path.with_name(card.weights.file), sha256=card.weights.sha256)
    files = Int8Files.of(folder, card)
    backend = OpenVinoBackend(
        network,
        card.normalisation,
        precision="int8",
        int8_model=files.model_for(),
        int8_sha256=files.sha256(),
    )
    return Segmenter(backend, card, batch_size=BATCH_SLICES)


def run_of(task: Task) -> RunJob:
    """Return the job of the task."""
    slide = Path(task.slide)
    parameters = JobParameters(halo_px=0 if task.like_peers else None)
    directory = Path(task.folder) / "job"
    return RunJob("peers", 1, slide.name, str(slide), str(directory), Path(task.card).stem, parameters)


def labels_of(files: JobFiles) -> NDArray[np.uint8]:
    """Read the label map of a finished job, (H, W) of label px."""
    with LabelTiff(files.labels) as labels:
        return labels.read(Rect.of(labels.size))


if __name__ == "__main__":
    main()
