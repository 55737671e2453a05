"""Pydantic models of the requests and responses of the HTTP API."""

from datetime import UTC, datetime
from typing import Any, Literal, Self
from urllib.parse import quote

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from workers.jobs import OUTPUT_FILES, Job, JobState, OutputName
from wsi.geometry import WindowSpan

from .parameter_schemas import JobParametersOut, shown_members
from .region_fields import Regions, Tissue
from .slides.store import StoredSlide

PREFIX = "/v1"


SLIDE_ID = "0f3c9f2ab1d04e55a6b7c8d9"
SHA256 = "^[0-9a-f]{64}$"
JOB_ID = "019caf2b1c3c5d0e7f9a2b4c"

PROBLEM: dict[str, Any] = {
    "type": "urn:darefine:problem:mpp-unknown",
    "title": "Unprocessable Content",
    "status": 422,
    "detail": "The slide does not say its pixel size. Send mpp=, such as 0.25 for a 40x scan.",
}


def example(value: dict[str, Any]) -> ConfigDict:
    """Return the configuration of a model whose JSON schema shows `value` as its example."""
    return ConfigDict(json_schema_extra={"example": value})


class ProblemOut(BaseModel):
    """An RFC 9457 problem document."""

    model_config = example(PROBLEM)
    type: str
    title: str
    status: int | None = None
    detail: str


class JobRefusedOut(ProblemOut):
    """Why a job was refused. If its slide was uploaded with it and is kept, the problem names it."""

    model_config = example({**PROBLEM, "slide_id": SLIDE_ID})
    slide_id: str | None = Field(
        None, description="The uploaded slide. Post the job again with it as JSON, or DELETE the slide."
    )


class JobOptions(BaseModel):
    """Options of a job, as form fields or JSON members."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(
        None,
        max_length=4096,
        description="Name of a model of GET /v1/models; the service's default if absent.",
    )
    mpp: float | None = Field(
        None, ge=0.05, le=5, description="Micrometres per pixel of level 0; overrides what the slide says."
    )
    halo_px: int | None = Field(
        None,
        ge=0,
        le=256,
        multiple_of=16,
        description="Overlap around each window, in label pixels; the model's own if absent.",
    )
    window: WindowSpan | None = Field(
        None,
        description="What the network labels at once: a slice of 512 px, a quarter of a patch, or the patch. "
        "Larger is faster and takes more memory; the model's own if absent.",
    )
    precision: Literal["fp32", "bf16", "fp16"] | None = Field(
        None, description="Number format of the network; what the device is fast at if absent."
    )
    tissue: Tissue = True
    regions: Regions = None
    outputs: tuple[OutputName, ...] = Field(
        (),
        description="Results to make with the job, besides the two TIFFs; in a form separated by commas.",
    )
    priority: Literal["normal", "high"] = Field("normal", description="`high` jobs go before `normal` ones.")
    force: bool = Field(
        False, description="Compute even if a job of the same slide, weights and parameters has succeeded."
    )

    @field_validator("mpp", "halo_px", mode="before")
    @classmethod
    def _number(cls, value: object) -> object:
        """Take text, as forms have it, but not `true` for 1."""
        if isinstance(value, bool):
            raise ValueError("send a number")  # noqa: TRY004 - what pydantic reports
        return value

    @field_validator("force", mode="before")
    @classmethod
    def _yes_or_no(cls, value: object) -> object:
        """Take text, as forms have it, but not 1 for `true`."""
        if isinstance(value, int | float) and not isinstance(value, bool):
            raise ValueError("send true or false")  # noqa: TRY004 - what pydantic reports
        return value

    @field_validator("outputs", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        """Split what came as one form field; the order and repetitions do not matter."""
        names = value.split(",") if isinstance(value, str) else value
        if not isinstance(names, list | tuple) or not all(isinstance(name, str) for name in names):
            return value
        return tuple(sorted({name.strip() for name in names}))


class JobCreate(JobOptions):
    """A job on a slide that the service already has, or that lies where it may read: one of the two."""

    model_config = example({"slide_id": SLIDE_ID, "mpp": 0.25})
    slide_id: str | None = Field(None, max_length=200, description="A slide of GET /v1/slides.")
    uri: str | None = Field(
        None,
        max_length=4096,
        description="A path, or a file:// URI, to register in place; nothing is copied.",
    )

    @model_validator(mode="after")
    def _one_slide(self) -> Self:
        if (self.slide_id is None) == (self.uri is None):
            raise ValueError("send either slide_id or uri")
        return self


class SlideRegister(BaseModel):
    """A slide to register without sending it: where it lies, or sha256 and name of bytes sent before."""

    model_config = example({"uri": "file:///mnt/slides/case-17.svs"})
    uri: str | None = Field(None, max_length=4096, description="A path, or a file:// URI.")
    sha256: str | None = Field(None, pattern=SHA256, description="Of bytes that were uploaded before.")
    filename: str | None = Field(None, description="What the slide of these bytes is called.")

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.uri is None) != (self.sha256 is not None) or (self.sha256 is None) != (
            self.filename is None
        ):
            raise ValueError("send either uri, or sha256 and filename")
        return self


class SlideOut(BaseModel):
    """A stored slide and the facts its file states."""

    model_config = example(
        {
            "id": SLIDE_ID,
            "name": "case-17.svs",
            "bytes": 1_482_911_744,
            "sha256": f"{SLIDE_ID}6a1b0c2d3e4f5061728394a5b6c7d8e9f0a1b2c3",
            "created_at": "2026-03-02T09:14:03.220000Z",
            "vendor": "aperio",
            "width": 96_512,
            "height": 71_424,
            "level_downsamples": [1.0, 4.0, 16.0],
            "mpp": 0.2525,
            "mpp_source": "vendor",
            "objective_power": 40.0,
            "links": {
                "self": f"{PREFIX}/slides/{SLIDE_ID}",
                "tiles": f"{PREFIX}/slides/{SLIDE_ID}/tiles",
                "thumbnail": f"{PREFIX}/slides/{SLIDE_ID}/thumbnail",
                "jobs": f"{PREFIX}/jobs?slide_id={SLIDE_ID}",
            },
        }
    )
    id: str
    name: str
    bytes: int
    sha256: str | None = Field(description="Of the uploaded file; null for a slide registered in place.")
    created_at: datetime
    vendor: str
    width: int = Field(description="Of level 0, in pixels.")
    height: int
    level_downsamples: list[float]
    mpp: float | None = Field(description="Micrometres per pixel of level 0; null if the file does not say.")
    mpp_source: str | None
    objective_power: float | None
    links: dict[str, str]

    @classmethod
    def of(cls, slide: StoredSlide) -> "SlideOut":
        """Return the JSON form of a stored slide."""
        info = slide.info
        return cls(
            id=slide.id,
            name=slide.name,
            bytes=slide.bytes,
            sha256=slide.sha256,
            created_at=moment(slide.created_at),
            vendor=info.vendor,
            width=info.size.width,
            height=info.size.height,
            level_downsamples=list(info.level_downsamples),
            mpp=info.mpp.value if info.mpp else None,
            mpp_source=info.mpp.source if info.mpp else None,
            objective_power=info.objective_power,
            links=slide_links(slide),
        )


class SlideList(BaseModel):
    """Slides, newest first."""

    slides: list[SlideOut]


class ProgressOut(BaseModel):
    """Progress of a job."""

    fraction: float = Field(ge=0, le=1)
    stage: str
    patches_done: int
    patches_total: int
    megapixels_per_second: float | None = Field(description="Of level-0 pixels in analysed tiles.")
    eta_s: float | None


class WarningOut(BaseModel):
    """What a reader of the labels should know before believing them."""

    code: str = Field(description="One of a few kebab-case words, such as `phantom-weights` or `blurred`.")
    words: str


class SlideRef(BaseModel):
    """The slide a job runs on."""

    id: str
    name: str


class JobOut(BaseModel):
    """A job: its state, progress, parameters and links."""

    model_config = example(
        {
            "id": JOB_ID,
            "state": "running",
            "progress": {
                "fraction": 0.42,
                "stage": "segment",
                "patches_done": 63,
                "patches_total": 150,
                "megapixels_per_second": 88.5,
                "eta_s": 51.0,
            },
            "attempt": 1,
            "cancel_requested": False,
            "queue_position": None,
            "created_at": "2026-03-02T09:14:05.100000Z",
            "started_at": "2026-03-02T09:14:05.400000Z",
            "finished_at": None,
            "model": "phantom-resnet18-centred",
            "parameters": {
                "mpp": None,
                "halo_px": None,
                "precision": None,
                "tissue": True,
                "outputs": [],
                "priority": "normal",
            },
            "slide": {"id": SLIDE_ID, "name": "case-17.svs"},
            "warnings": [{"code": "mpp-guessed", "words": "The pixel size of 0.25 um is a guess from ..."}],
            "error": None,
            "links": {
                "self": f"{PREFIX}/jobs/{JOB_ID}",
                "slide": f"{PREFIX}/slides/{SLIDE_ID}",
                "model": f"{PREFIX}/models/phantom-resnet18-centred",
                "events": f"{PREFIX}/jobs/{JOB_ID}/events",
                "tiles": f"{PREFIX}/jobs/{JOB_ID}/tiles",
                "cancel": f"{PREFIX}/jobs/{JOB_ID}/cancel",
            },
        }
    )
    id: str
    state: JobState
    progress: ProgressOut
    attempt: int = Field(description="1 at the first run; grows each time the job is taken up again.")
    cancel_requested: bool = Field(description="Whether somebody has cancelled it; it stops within seconds.")
    queue_position: int | None = Field(description="Jobs before this one, while it waits.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    model: str
    parameters: JobParametersOut
    slide: SlideRef
    warnings: list[WarningOut] = Field(description="Known soon after the job has started.")
    error: ProblemOut | None
    links: dict[str, str]

    @classmethod
    def of(cls, job: Job, queue_position: int | None = None) -> "JobOut":
        """Return the JSON form of a job record."""
        return cls(
            id=job.id,
            state=job.state,
            progress=ProgressOut.model_validate(job.progress, from_attributes=True),
            attempt=job.attempt,
            cancel_requested=job.cancel_requested or job.state is JobState.CANCELLED,
            queue_position=queue_position,
            created_at=moment(job.created_at),
            started_at=moment(job.started_at) if job.started_at else None,
            finished_at=moment(job.finished_at) if job.finished_at else None,
            model=job.request.model,
            parameters=parameters_out(shown_members(job.request.parameters), job.request.priority),
            slide=SlideRef(id=job.request.slide_id, name=job.request.slide_name),
            warnings=[WarningOut.model_validate(w, from_attributes=True) for w in job.progress.warnings],
            error=ProblemOut.model_validate(job.error, from_attributes=True) if job.error else None,
            links=job_links(job),
        )


class JobList(BaseModel):
    """A page of jobs, newest first."""

    jobs: list[JobOut]
    next_cursor: str | None = Field(description="Send it as ?cursor= for the next page; null on the last.")


class Health(BaseModel):
    """Liveness, with the version that answers."""

    model_config = example({"status": "ok", "version": "0.1.0"})
    status: Literal["ok"]
    version: str


class Readiness(BaseModel):
    """Readiness: whether a job sent now would run, part by part."""

    model_config = example({"ready": True, "checks": {"queue": "ok", "storage": "ok", "worker": "ok"}})
    ready: bool
    checks: dict[str, str] = Field(description="`ok`, or what is wrong.")
    quarantined: dict[str, str] = Field(
        default_factory=dict, description="Workers that take no jobs because of their hosts, and why."
    )


def moment(seconds: float) -> datetime:
    """Convert Unix seconds to an aware UTC time."""
    return datetime.fromtimestamp(seconds, UTC)


def parameters_out(members: dict[str, Any], priority: str) -> JobParametersOut:
    """Return the JSON form of parameters given as members."""
    return JobParametersOut.model_validate({**members, "priority": priority})


def slide_links(slide: StoredSlide) -> dict[str, str]:
    """Return the links of a slide: to itself, its tiles, its thumbnail, and the jobs on it."""
    self = f"{PREFIX}/slides/{slide.id}"
    jobs = f"{PREFIX}/jobs?slide_id={slide.id}"
    return {"self": self, "tiles": f"{self}/tiles", "thumbnail": f"{self}/thumbnail", "jobs": jobs}


def job_links(job: Job) -> dict[str, str]:
    """Return the links of a job: itself, slide, model, events, tiles, and its result or how to cancel it."""
    self = f"{PREFIX}/jobs/{job.id}"
    links = {
        "self": self,
        "slide": f"{PREFIX}/slides/{job.request.slide_id}",
        "model": f"{PREFIX}/models/{quote(job.request.model, safe='')}",
        "events": f"{self}/events",
        "tiles": f"{self}/tiles",
    }
    outputs = job.request.parameters.outputs
    if job.state is JobState.SUCCEEDED:
        links |= {
            name: f"{self}/{path}"
            for name, path in (
                ("overlay", "overlay.tif"),
                ("labels", "labels.tif"),
                ("regions", "regions.geojson"),
                ("result", "result"),
                *((one, f"files/{file}") for one, file in OUTPUT_FILES.items() if one in outputs),
            )
        }
    elif not job.state.is_final:
        links["cancel"] = f"{self}/cancel"
    return links
