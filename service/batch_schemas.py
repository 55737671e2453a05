"""Pydantic models of the requests and answers about batches."""

import json
from datetime import datetime
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from workers.batches import Batch, BatchState
from workers.errors import BatchNotFoundError
from workers.jobs import JOB_ID as JOB_ID_FORM
from workers.jobs import JobState

from .parameter_schemas import JobParametersOut
from .schemas import JOB_ID, PREFIX, SLIDE_ID, JobOptions, example, moment

MOST_SLIDES = 100_000
"""Slides that one batch may hold."""

CSV_BYTES = 12 << 20
"""Longest CSV of slides, in characters."""

URI = Field(max_length=4096, description="A path or file:// URI, registered in place when its turn comes.")


class BatchSlideIn(BaseModel):
    """One slide of a batch."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    slide_id: str | None = Field(
        None, pattern=f"^{JOB_ID_FORM.pattern}$", description="A slide of GET /v1/slides."
    )
    uri: Annotated[str | None, URI] = None
    mpp: float | None = Field(None, ge=0.05, le=5, description="Of this slide, if it differs.")

    @model_validator(mode="after")
    def _one_slide(self) -> Self:
        if (self.slide_id is None) == (self.uri is None):
            raise ValueError("send either slide_id or uri")
        return self


class BatchCreate(JobOptions):
    """Slides to run with the same options: a list, a folder, or a CSV; one of the three."""

    model_config = example({"name": "cohort 7", "slides": ["/mnt/slides/case-17.svs", SLIDE_ID]})
    model_config["extra"] = "forbid"
    name: str = Field("", max_length=200, description="What people call it.")
    slides: list[Annotated[str, URI] | BatchSlideIn] | None = Field(
        None, min_length=1, max_length=MOST_SLIDES, description="Paths, URIs, ids of slides, or objects."
    )
    folder: str | None = Field(None, max_length=4096, description="A folder whose slides are meant.")
    recursive: bool = Field(False, strict=True, description="Whether the folders in it are meant, too.")
    csv: str | None = Field(
        None,
        max_length=CSV_BYTES,
        description="A table with a column `slide` (path, URI or id), and `mpp` if slides need it.",
    )

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        if [self.slides, self.folder, self.csv].count(None) != 2:
            raise ValueError("send one of slides, folder and csv")
        if self.regions is not None or not isinstance(self.tissue, bool):
            raise ValueError("polygons belong to one slide: send such jobs one by one")
        return self

    def options(self) -> JobOptions:
        """Return what all jobs of the batch have in common."""
        return JobOptions(**{name: getattr(self, name) for name in JobOptions.model_fields})


class BatchCounts(BaseModel):
    """Slides of a batch, by what has become of them."""

    total: int
    waiting: int = Field(description="Not yet jobs.")
    queued: int
    running: int
    succeeded: int
    failed: int = Field(description="Those that could not become jobs, too.")
    cancelled: int


class BatchOut(BaseModel):
    """A batch: its state, how far it is, and links."""

    model_config = example(
        {
            "id": JOB_ID,
            "name": "cohort 7",
            "state": "running",
            "slides": {
                "total": 10_000,
                "waiting": 9_990,
                "queued": 3,
                "running": 1,
                "succeeded": 5,
                "failed": 1,
                "cancelled": 0,
            },
            "created_at": "2026-03-02T09:14:05.100000Z",
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
            "links": {
                "self": f"{PREFIX}/batches/{JOB_ID}",
                "slides": f"{PREFIX}/batches/{JOB_ID}/slides.csv",
                "pause": f"{PREFIX}/batches/{JOB_ID}/pause",
                "cancel": f"{PREFIX}/batches/{JOB_ID}/cancel",
            },
        }
    )
    id: str
    name: str
    state: BatchState
    slides: BatchCounts
    created_at: datetime
    finished_at: datetime | None
    model: str
    parameters: JobParametersOut
    links: dict[str, str]

    @classmethod
    def of(cls, batch: Batch, live: dict[JobState, int]) -> "BatchOut":
        """Return the JSON form of a batch; `live` counts its jobs that are not known to be over by state.

        Raises:
            BatchNotFoundError: its options cannot be read: somebody else wrote them.
        """
        try:
            parameters = JobParametersOut.model_validate(json.loads(batch.options)["shown"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise BatchNotFoundError(batch.id) from error
        ended = {state: batch.ended[state] + live.get(state, 0) for state in batch.ended}
        # What has begun and is no job yet waits on.
        begun = sum(ended.values()) + live.get(JobState.QUEUED, 0) + live.get(JobState.RUNNING, 0)
        waiting = batch.total - begun
        if batch.state is BatchState.CANCELLED:
            ended[JobState.CANCELLED] += waiting
            waiting = 0
        return cls(
            id=batch.id,
            name=batch.name,
            state=batch.state,
            slides=BatchCounts(
                total=batch.total,
                waiting=waiting,
                queued=live.get(JobState.QUEUED, 0),
                running=live.get(JobState.RUNNING, 0),
                succeeded=ended[JobState.SUCCEEDED],
                failed=ended[JobState.FAILED],
                cancelled=ended[JobState.CANCELLED],
            ),
            created_at=moment(batch.created_at),
            finished_at=moment(batch.finished_at) if batch.finished_at else None,
            model=batch.model,
            parameters=parameters,
            links=batch_links(batch),
        )


class BatchList(BaseModel):
    """A page of batches, newest first."""

    batches: list[BatchOut]
    next_cursor: str | None = Field(description="Send it as ?cursor= for the next page; null on the last.")


def batch_links(batch: Batch) -> dict[str, str]:
    """Return the links of a batch: to itself, its slides, and to what may be done with it now."""
    self = f"{PREFIX}/batches/{batch.id}"
    links: dict[str, Any] = {"self": self, "slides": f"{self}/slides.csv"}
    if not batch.state.is_final:
        step = "resume" if batch.state is BatchState.PAUSED else "pause"
        links |= {step: f"{self}/{step}", "cancel": f"{self}/cancel"}
    return links
