"""What goes over the wire: pydantic models of requests and answers."""

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from workers.jobs import Job, JobState
from wsi.reading.slide_info import SlideInfo

from .slides.store import StoredSlide

PREFIX = "/v1"


class ProblemOut(BaseModel):
    """An RFC 9457 problem document."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:darefine:problem:mpp-unknown",
                "title": "Unprocessable Content",
                "status": 422,
                "detail": "The slide does not say its pixel size. Send mpp=, such as 0.25 for a 40x scan.",
            }
        }
    )
    type: str
    title: str
    status: int | None = None
    detail: str


class JobRefusedOut(ProblemOut):
    """Why a job was refused. If its slide was uploaded with it and is kept, the problem names it."""

    model_config = ConfigDict(
        json_schema_extra={
            "example": {
                "type": "urn:darefine:problem:mpp-unknown",
                "title": "Unprocessable Content",
                "status": 422,
                "detail": "The slide does not say its pixel size. Send mpp=, such as 0.25 for a 40x scan. The uploaded slide is "
                'kept: send {"slide_id": "0f3c9f2ab1d04e55a6b7c8d9", "mpp": 0.25} as JSON.',
                "slide_id": "0f3c9f2ab1d04e55a6b7c8d9",
            }
        }
    )
    slide_id: str | None = Field(
        None, description="The uploaded slide. Post the job again with it as JSON, or DELETE the slide."
    )


class JobOptions(BaseModel):
    """What a client may choose for a job; form fields and JSON members alike."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str | None = Field(
        None, description="Name of a model of GET /v1/models; the service's default if absent."
    )
    mpp: float | None = Field(
        None, ge=0.05, le=5, description="Micrometres per pixel of level 0; overrides what the slide says."
    )
    halo_px: int | None = Field(
        None,
        ge=0,
        le=256,
        multiple_of=16,
        description="Overlap around each slice, in label pixels; the model's own if absent.",
    )
    precision: Literal["fp32", "bf16", "fp16"] | None = Field(
        None, description="Number format of the network; what the device is fast at if absent."
    )
    tissue: bool = Field(True, description="Look for tissue and leave glass out; false labels every pixel.")
    priority: Literal["normal", "high"] = Field("normal", description="`high` jobs go before `normal` ones.")


class JobCreate(JobOptions):
    """A job on a slide that the service already has."""

    model_config = ConfigDict(
        json_schema_extra={"example": {"slide_id": "0f3c9f2ab1d04e55a6b7c8d9", "mpp": 0.25}}
    )
    slide_id: str


class SlideRegister(BaseModel):
    """A slide to take in place."""

    model_config = ConfigDict(json_schema_extra={"example": {"uri": "file:///mnt/slides/case-17.svs"}})
    uri: str = Field(max_length=4096, description="A path, or a file:// URI.")


class SlideOut(BaseModel):
    """A slide and what its file says of itself."""

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
        """The wire form of a stored slide."""
        info: SlideInfo = slide.info
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
            links={"self": f"{PREFIX}/slides/{slide.id}"},
        )


class SlideList(BaseModel):
    """Slides, newest first."""

    slides: list[SlideOut]


class ProgressOut(BaseModel):
    """How far a job is."""

    fraction: float = Field(ge=0, le=1)
    stage: str
    patches_done: int
    patches_total: int
    megapixels_per_second: float | None = Field(description="Of level-0 pixels in analysed tiles.")
    eta_s: float | None


class SlideRef(BaseModel):
    """The slide a job runs on."""

    id: str
    name: str


class JobOut(BaseModel):
    """A job's state."""

    id: str
    state: JobState
    progress: ProgressOut
    attempt: int = Field(description="1 at the first run; grows each time the job is taken up again.")
    queue_position: int | None = Field(description="Jobs before this one, while it waits.")
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    model: str
    parameters: dict[str, Any]
    slide: SlideRef
    error: ProblemOut | None
    links: dict[str, str]

    @classmethod
    def of(cls, job: Job, queue_position: int | None = None) -> "JobOut":
        """The wire form of a job record."""
        return cls(
            id=job.id,
            state=job.state,
            progress=ProgressOut.model_validate(job.progress, from_attributes=True),
            attempt=job.attempt,
            queue_position=queue_position,
            created_at=moment(job.created_at),
            started_at=moment(job.started_at) if job.started_at else None,
            finished_at=moment(job.finished_at) if job.finished_at else None,
            model=job.request.model,
            parameters={**job.request.parameters.to_json(), "priority": job.request.priority},
            slide=SlideRef(id=job.request.slide_id, name=job.request.slide_name),
            error=ProblemOut.model_validate(job.error, from_attributes=True) if job.error else None,
            links=job_links(job),
        )


class JobList(BaseModel):
    """A page of jobs, newest first."""

    jobs: list[JobOut]
    next_cursor: str | None = Field(description="Send it as ?cursor= for the next page; null on the last.")


class ModelList(BaseModel):
    """The model cards that workers serve."""

    default: str
    models: list[dict[str, Any]]


class Health(BaseModel):
    """Liveness, with the version that answers."""

    status: Literal["ok"]
    version: str


class Readiness(BaseModel):
    """Whether a job sent now would run, part by part."""

    ready: bool
    checks: dict[str, str] = Field(description="`ok`, or what is wrong.")


def moment(seconds: float) -> datetime:
    """Unix seconds as an aware UTC time."""
    return datetime.fromtimestamp(seconds, UTC)


def job_links(job: Job) -> dict[str, str]:
    """Where a client can go from this job."""
    self = f"{PREFIX}/jobs/{job.id}"
    links = {"self": self}
    if job.state is JobState.SUCCEEDED:
        links |= {
            name: f"{self}/{path}"
            for name, path in (("overlay", "overlay.tif"), ("labels", "labels.tif"), ("result", "result"))
        }
    elif not job.state.is_final:
        links["cancel"] = f"{self}/cancel"
    return links
