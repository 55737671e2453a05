"""Define jobs as values: states, requests, progress and records.

Knows no Redis, so that every process may import it.
"""

import re
import secrets
import time
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, TypeGuard

from pydantic import ConfigDict, Field, with_config

from wsi.geometry import WindowSpan
from wsi.regions_of_interest import regions_summary
from wsi.rules import TISSUE_RULES

Priority = Literal["normal", "high"]

OutputName = Literal[
    "regions.geojson",
    "tissue.geojson",
    "probabilities",
    "confidence",
    "preview",
    "dicom_seg",
    "ome_zarr",
]
"""Results that are made only when a job asks for them by name."""


OUTPUT_FILES: Mapping[str, str] = {
    "probabilities": "probabilities.tif",
    "preview": "preview.png",
    "dicom_seg": "labels.dcm",
    "ome_zarr": "labels.ome.zarr.zip",
}
"""Names of the files of outputs that are one file, always of the same name."""


def keeps_probabilities(outputs: Collection[str]) -> bool:
    """Tell whether probabilities must be stored with the labels of each patch to make these outputs."""
    return not {"probabilities", "confidence"}.isdisjoint(outputs)


STRICT = ConfigDict(strict=True, extra="ignore", allow_inf_nan=False)
"""How dataclasses are read from JSON: no number from a string. Members that a later version adds are passed
over, so that versions can run side by side while a service is upgraded."""

JOB_ID = re.compile("[0-9a-f]{24}")
"""Form of a job's id: nothing else is looked up or becomes part of a path."""

Count = Annotated[int, Field(ge=0, lt=2**53)]
Positive = Annotated[float, Field(gt=0)]

LAST_MOMENT = 253_402_300_799.0
"""Unix seconds of the last second that has a date."""

Moment = Annotated[float, Field(ge=0, le=LAST_MOMENT)]
"""A time in Unix seconds."""

ADDED = Field(exclude_if=lambda value: not value)
"""Annotation of members that earlier versions had not: left out of JSON while empty, so records and requests
that do not use them are written as before."""


class JobState(StrEnum):
    """State of a job."""

    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def is_final(self) -> bool:
        """Whether a job in this state stays in it."""
        return self not in (JobState.QUEUED, JobState.RUNNING)


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Problem:
    """Why something failed, in the members of an RFC 9457 document; `type` is a kebab-case word."""

    type: str
    title: str
    detail: str


def problem_type(error: type[Exception]) -> str:
    """Return the `type` of an error's problem: `SlideNotFoundError` -> `slide-not-found`."""
    name = error.__name__.removesuffix("Error")
    return "".join(f"-{letter.lower()}" if letter.isupper() else letter for letter in name).lstrip("-")


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class JobWarning:
    """What a reader of the labels should know; `code` is a kebab-case word, `words` a sentence."""

    code: str
    words: str


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class Progress:
    """Progress of a job.

    `fraction` is 0..1, patches are finished and planned ones, speed is in level-0 megapixels a second.
    """

    fraction: Annotated[float, Field(ge=0, le=1)] = 0.0
    stage: str = "queued"
    patches_done: Count = 0
    patches_total: Count = 0
    megapixels_per_second: float | None = None
    eta_s: float | None = None
    warnings: Annotated[tuple[JobWarning, ...], ADDED] = ()
    """Known once the slide has been looked at, and kept from then on."""


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class JobParameters:
    """Parameters that a client chose; None leaves the choice to slide, card or settings.

    `mpp` is in um per level-0 px, `halo_px` in label px.
    """

    mpp: Positive | None = None
    halo_px: Count | None = None
    precision: str | None = None
    tissue: bool = True
    outputs: Annotated[tuple[str, ...], ADDED] = ()
    """`OutputName`s to make besides the two TIFFs; they change nothing in those."""
    regions: Annotated[str | None, ADDED] = None
    """Regions of interest, the JSON text of a `wsi.regions_of_interest.RegionsOfInterest`: records are read
    often, their thousands of vertices once."""
    tissue_outlines: Annotated[str | None, ADDED] = None
    """A tissue mask that came with the job, JSON text as of `regions`; `tissue` is False then."""
    window: Annotated[WindowSpan | None, ADDED] = None
    """What the network labels at once; None: what the card says."""

    def to_json(self) -> dict[str, Any]:
        """Return the parameters as JSON members; of polygons, if there are any, what stands for them."""
        members = asdict(self)
        if self.window is None:
            # As earlier versions wrote it.
            del members["window"]
        polygons = {name: members.pop(name) for name in ("regions", "tissue_outlines")}
        return members | {name: regions_summary(text) for name, text in polygons.items() if text}

    def of_labels(self) -> dict[str, Any]:
        """Return the parameters as JSON members, with the version of the rules that labels depend on."""
        return self.to_json() | ({"tissue_rules": TISSUE_RULES} if self.tissue else {})


@with_config(STRICT)
@dataclass(frozen=True, slots=True)
class JobRequest:
    """Request to run a model on a slide.

    Workers look up by `slide_id` where the slide lies. `slide_path` is for workers of version 0.1.0 alone,
    which may take jobs while a service is upgraded.
    """

    slide_id: str
    slide_name: str
    slide_path: str
    model: str
    parameters: JobParameters = JobParameters()
    priority: Priority = "normal"
    slide_sha256: Annotated[str | None, ADDED] = None
    """Of the slide as it was uploaded; None for one that is registered in place."""
    model_sha256: Annotated[str | None, ADDED] = None
    """Of the weights that the model's card named when the job was sent; only workers that have them take
    it."""


def result_stem(slide_name: str, model: str) -> str:
    """Return what names of result files outside their job begin with: `case.m` of `case.svs` and model `m`.

    The suffix of a slide, or of the zip that a folder came in, goes; numbers at the end of a name stay.
    """
    return f"{_SLIDE_SUFFIX.sub('', slide_name) or slide_name}.{model}"


_SLIDE_SUFFIX = re.compile(r"(\.mrxs)?\.zip$|\.[a-z]\w*$", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class JobFiles:
    """Paths of the files that a job keeps inside its own directory."""

    directory: Path

    @property
    def overlay(self) -> Path:
        """The coloured pyramid for people."""
        return self.directory / "overlay.tif"

    @property
    def labels(self) -> Path:
        """The grey pyramid for programs."""
        return self.directory / "labels.tif"

    @property
    def result(self) -> Path:
        """The JSON that sums the job up."""
        return self.directory / "result.json"

    def regions(self, tolerance_um: float, min_area_um2: float) -> Path:
        """Return the path of the polygons, gzipped GeoJSON; a file for each pair of options."""
        return self.directory / f"regions-{tolerance_um:.10g}um-{min_area_um2:.10g}um2.geojson.gz"

    @property
    def request(self) -> Path:
        """What was asked for, as JSON, unless the job failed or was cancelled (`workers.queue.recovery`).

        It lies beside the directory, which the job itself makes.
        """
        return self.directory.with_name(f"{self.directory.name}.json")

    @property
    def probabilities(self) -> Path:
        """The grey pyramid of the labels' probabilities."""
        return self.directory / OUTPUT_FILES["probabilities"]

    @property
    def preview(self) -> Path:
        """The picture of slide, labels and legend."""
        return self.directory / OUTPUT_FILES["preview"]

    @property
    def dicom_seg(self) -> Path:
        """The label map as a DICOM Segmentation."""
        return self.directory / OUTPUT_FILES["dicom_seg"]

    @property
    def ome_zarr(self) -> Path:
        """The label map as OME-Zarr, zipped."""
        return self.directory / OUTPUT_FILES["ome_zarr"]

    @property
    def plan(self) -> Path:
        """The grid, the patches to run and the classes, as JSON; viewers of a running job read it."""
        return self.directory / "plan.json"

    @property
    def tissue(self) -> Path:
        """The tissue mask, found once."""
        return self.directory / "tissue.npz"

    @property
    def tissue_outlines(self) -> Path:
        """What was analysed as polygons, GeoJSON."""
        return self.directory / "tissue.geojson"

    @property
    def patches(self) -> Path:
        """The folder of finished patches; gone once the pyramids are written."""
        return self.directory / "patches"

    @property
    def probability_patches(self) -> Path:
        """The folder of the finished patches' probabilities, where they are kept; gone with `patches`."""
        return self.directory / "probability-patches"


@dataclass(frozen=True, slots=True)
class Job:
    """Record of one job. Times are unix seconds of the queue server's clock.

    `directory` is made of `id` by whoever reads the record; no path in it is believed.

    `attempt` counts runs from 1 and fences them: a writer that holds an older number is refused. `crashes`
    counts the crashes since the last newly finished patch. `revision` grows with every change of the record.
    """

    id: str
    state: JobState
    request: JobRequest
    directory: str
    progress: Progress
    attempt: int
    crashes: int
    created_at: float
    started_at: float | None
    finished_at: float | None
    worker: str | None
    cancel_requested: bool
    error: Problem | None
    revision: int

    @property
    def files(self) -> JobFiles:
        """The job's files."""
        return JobFiles(Path(self.directory))


def is_job_id(value: object) -> TypeGuard[str]:
    """Tell whether a value has the form of a job's id."""
    return isinstance(value, str) and JOB_ID.fullmatch(value) is not None


def new_job_id() -> str:
    """Return a new id; they sort by time, to the millisecond, so that a listing by id is a listing by age."""
    return f"{time.time_ns() // 1_000_000:012x}{secrets.token_hex(6)}"


def submitted_at(job_id: str) -> float:
    """Return the Unix seconds in which an id was made; of what has not the form of one, those of now."""
    return int(job_id[:12], 16) / 1000 if is_job_id(job_id) else time.time()


def new_job(request: JobRequest, jobs_root: Path) -> Job:
    """Return a queued job for `request` with a new id; its directory is `jobs_root/<id>`, not created yet."""
    job_id = new_job_id()
    return Job(
        id=job_id,
        state=JobState.QUEUED,
        request=request,
        directory=str(jobs_root / job_id),
        progress=Progress(),
        attempt=1,
        crashes=0,
        created_at=time.time(),
        started_at=None,
        finished_at=None,
        worker=None,
        cancel_requested=False,
        error=None,
        revision=0,
    )


CLOCKS_APART_S = 600.0
"""Ids hold the time of the host that submitted, records that of the queue server; so much they may differ."""


@dataclass(frozen=True, slots=True)
class JobFilter:
    """Which jobs a listing is to hold; None wants all. Times of creation are Unix seconds."""

    slide_id: str | None = None
    model: str | None = None
    after: float | None = None
    """Made then or later."""
    before: float | None = None
    """Made earlier."""

    def matches(self, job: Job) -> bool:
        """Tell whether a job is wanted."""
        return (
            self.slide_id in (None, job.request.slide_id)
            and self.model in (None, job.request.model)
            and (self.after is None or job.created_at >= self.after)
            and (self.before is None or job.created_at < self.before)
        )

    @property
    def oldest_id(self) -> str | None:
        """What sorts before the ids of all wanted jobs, None if `after` is."""
        return None if self.after is None else _id_of(self.after - CLOCKS_APART_S)

    def newest_id(self, cursor: str | None) -> str | None:
        """Return what sorts after the ids of all wanted jobs that come before `cursor` in a listing."""
        if self.before is None:
            return cursor
        newest = _id_of(self.before + CLOCKS_APART_S)
        return newest if cursor is None else min(cursor, newest)


EVERY_JOB = JobFilter()


def _id_of(seconds: float) -> str:
    """Return what ids begin with of jobs made at a time."""
    return f"{max(0, int(seconds * 1000)):012x}"
