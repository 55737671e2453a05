"""Turn a request's options into a queued job, refusing at once what could never run."""

import hashlib
import json
from dataclasses import dataclass
from typing import Any

from workers.jobs import Job, JobParameters, JobRequest, keeps_probabilities
from workers.queue.client import JobClient
from wsi.errors import MppUnknownError, OutputUnavailableError
from wsi.geometry import Size
from wsi.grid import InputGeometry, make_grid
from wsi.read_regions import check_on_slide
from wsi.writing.output_extras import check_outputs, without_probabilities

from .errors import ModelNotReadyError, ModelUnknownError, PrecisionError
from .model_schemas import ModelRef, PreflightOut
from .schemas import JobOptions, parameters_out
from .slides.store import StoredSlide

NOMINAL_SIZE = Size(100_000, 100_000)
"""Size of the slide that options are judged with before there is one, level-0 px."""


@dataclass(frozen=True, slots=True)
class Submitted:
    """A job, and whether it is an earlier one, that has done already what was asked for."""

    job: Job
    is_earlier: bool = False


def submit_job(
    queue: JobClient,
    slide: StoredSlide,
    options: JobOptions,
    *,
    idempotency_key: str | None = None,
    lane: str = "",
) -> Submitted:
    """Queue a job on `slide`, or return the job that `idempotency_key` already stands for.

    If a job of the same slide, weights and parameters has succeeded, return that, unless `options` force a
    new one. Jobs of one `lane` share the workers evenly with those of others.

    Raises:
        ModelUnknownError: when no worker serves the model asked for.
        ModelNotReadyError: when no worker has announced its models yet.
        PrecisionError: when all workers compute on CPUs and the precision is one of GPUs.
        MppUnknownError: when neither the slide nor the options give a pixel size.
        MppOutOfRangeError: when the pixel size does not suit the model.
        HaloError: when the halo does not fit the model's tiles.
        SlideLimitError: when the label map would be too large.
        RegionsInvalidError: when a region, or a polygon of the tissue, lies outside of the slide.
        OutputUnavailableError: when an output cannot be made of this slide, or here.
        IdempotencyConflictError: when the key stands for a job made from another request.
    """
    card = model_card(queue, options.model)
    check_precision(queue, options)
    check_scale(slide, options, card)
    check_outputs(options.outputs, slide.info.vendor)
    check_probabilities(options, card)
    request = job_request(slide, options, card)
    work = fingerprint_of(request)
    if not options.force and not queue.knows_key(idempotency_key):
        earlier = queue.succeeded(work)
        if earlier is not None:
            return Submitted(earlier, is_earlier=True)
    return Submitted(queue.submit(request, idempotency_key=idempotency_key, work=work, lane=lane))


def job_request(slide: StoredSlide, options: JobOptions, card: dict[str, Any]) -> JobRequest:
    """Return the request of a job on `slide` with the model of a card."""
    return JobRequest(
        slide_id=slide.id,
        slide_name=slide.name,
        slide_path=slide.path,
        slide_sha256=slide.sha256,
        model=card["name"],
        model_sha256=weights_sha256(card),
        parameters=job_parameters(options),
        priority=options.priority,
    )


def fingerprint_of(request: JobRequest) -> str:
    """Return what requests have in common whose results would be the same: slide, weights, parameters."""
    parameters = {**request.parameters.of_labels(), "outputs": sorted(request.parameters.outputs)}
    model = [request.model, request.model_sha256]
    work = {"slide": request.slide_id, "model": model, "parameters": parameters}
    return hashlib.sha256(json.dumps(work, sort_keys=True).encode()).hexdigest()


def job_parameters(options: JobOptions) -> JobParameters:
    """Return the parameters of a job with `options`."""
    chosen = options.model_dump(include={"mpp", "halo_px", "window", "precision", "outputs"})
    regions = options.regions.to_json() if options.regions else None
    if isinstance(options.tissue, bool):
        return JobParameters(**chosen, tissue=options.tissue, regions=regions)
    return JobParameters(**chosen, tissue=False, tissue_outlines=options.tissue.to_json(), regions=regions)


def preflight(queue: JobClient, options: JobOptions) -> PreflightOut:
    """Judge the options of a job before there is a slide; return model and parameters it would run with.

    Raises:
        ModelUnknownError: when no worker serves the model asked for.
        ModelNotReadyError: when no worker has announced its models yet.
        PrecisionError: when all workers compute on CPUs and the precision is one of GPUs.
        MppOutOfRangeError: when the pixel size asked for is too coarse for the model.
        HaloError: when the halo does not fit the model's tiles.
        OutputUnavailableError: when an output cannot be made here.
    """
    card = model_card(queue, options.model)
    check_precision(queue, options)
    check_outputs(options.outputs, None)
    check_probabilities(options, card)
    geometry = InputGeometry(**card["input"])
    mpp = options.mpp or geometry.mpp
    make_grid(NOMINAL_SIZE, mpp, geometry, halo_px=options.halo_px, window=options.window)
    model = ModelRef(
        name=card["name"], version=str(card.get("version", "")), sha256=weights_sha256(card) or ""
    )
    parameters = parameters_out(job_parameters(options).of_labels(), options.priority)
    return PreflightOut(model=model, parameters=parameters)


def model_card(queue: JobClient, name: str | None) -> dict[str, Any]:
    """Return the card of model `name`, by default that of the default model.

    Raises:
        ModelUnknownError: when no worker serves it.
        ModelNotReadyError: when no worker has announced its models yet.
    """
    models = queue.models()
    if not models.cards:
        raise ModelNotReadyError("No worker has announced its models yet; try again in a few seconds.")
    for card in models.cards:
        if card["name"] == (name or models.default):
            return card
    known = ", ".join(card["name"] for card in models.cards)
    raise ModelUnknownError(f"No worker serves a model named {name!r}. Known models: {known}.")


def weights_sha256(card: dict[str, Any]) -> str | None:
    """Return the sha256 of the weights that a card names, None if it does not say."""
    weights = card.get("weights")
    digest = weights.get("sha256") if isinstance(weights, dict) else None
    return digest if isinstance(digest, str) else None


def check_probabilities(options: JobOptions, card: dict[str, Any]) -> None:
    """Check that the model gives the probabilities that outputs are made of.

    Raises:
        OutputUnavailableError: when it gives labels alone.
    """
    graph = card.get("onnx")
    if keeps_probabilities(options.outputs) and isinstance(graph, dict) and graph.get("output") == "labels":
        raise OutputUnavailableError(without_probabilities(card["name"]))


def check_precision(queue: JobClient, options: JobOptions) -> None:
    """Check that some worker may compute in the precision; as long as none has said, it may be.

    Raises:
        PrecisionError: when all workers compute on CPUs and the precision is one of GPUs.
    """
    if options.precision != "fp16":
        return
    devices = {worker.device for worker in queue.workers() if worker.device is not None}
    if devices == {"cpu"}:
        raise PrecisionError("fp16 is for GPUs, and all workers compute on CPUs: send fp32, bf16 or none.")


def check_scale(slide: StoredSlide, options: JobOptions, card: dict[str, Any]) -> None:
    """Check that the slide's pixel size and the halo suit the model, and that polygons lie on the slide.

    Raises:
        MppUnknownError: when neither the slide nor the options give a pixel size.
        MppOutOfRangeError: when it is absurd or too coarse for the model.
        HaloError: when the halo does not fit the model's tiles.
        SlideLimitError: when the label map would be too large.
        RegionsInvalidError: when a region, or a polygon of the tissue, lies outside of the slide.
    """
    mpp = options.mpp or (slide.info.mpp.value if slide.info.mpp else None)
    if mpp is None:
        raise MppUnknownError(slide.name)
    geometry = InputGeometry(**card["input"])
    make_grid(slide.info.size, mpp, geometry, halo_px=options.halo_px, window=options.window)
    if options.regions is not None:
        check_on_slide(options.regions, slide.info.size, mpp)
    if not isinstance(options.tissue, bool):
        check_on_slide(options.tissue, slide.info.size, mpp, what="Tissue polygon")
