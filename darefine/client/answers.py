"""Answers of the service as immutable values.

Members that this version of the client does not know are kept as further attributes.
"""

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict

from workers.batches import BatchState
from workers.jobs import JobState


class Answer(BaseModel):
    """Base of the answers: frozen, and tolerant of members of later versions."""

    model_config = ConfigDict(frozen=True, extra="allow")

    def document(self) -> dict[str, Any]:
        """Return the JSON document that the service sent."""
        return self.model_dump(mode="json", exclude_unset=True)


class Progress(Answer):
    """Progress of a job; `fraction` is 0..1, speed in level-0 megapixels a second."""

    fraction: float
    stage: str
    patches_done: int
    patches_total: int
    megapixels_per_second: float | None
    eta_s: float | None


class SlideRef(Answer):
    """The slide a job runs on."""

    id: str
    name: str


class JobError(Answer):
    """Why a job failed."""

    type: str
    title: str
    detail: str


class Job(Answer):
    """A job as it was when the service answered."""

    id: str
    state: JobState
    progress: Progress
    attempt: int
    queue_position: int | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    model: str
    parameters: dict[str, Any]
    slide: SlideRef
    error: JobError | None
    links: dict[str, str]


class Slide(Answer):
    """A slide that the service has, and what its file says. `mpp` is in um per level-0 pixel."""

    id: str
    name: str
    bytes: int
    sha256: str | None
    """Of the uploaded file; None for a slide registered in place."""
    created_at: datetime
    vendor: str
    width: int
    height: int
    mpp: float | None
    mpp_source: str | None
    objective_power: float | None


class FileFacts(Answer):
    """Size and sha256 of a result file."""

    bytes: int
    sha256: str


class ClassArea(Answer):
    """Area of one class, in mm² and as a fraction of the analysed tissue."""

    value: int
    name: str
    colour: tuple[int, int, int]
    pixels: int
    area_mm2: float
    fraction: float


class ResultMpp(Answer):
    """Pixel sizes in um/px: of the slide, with its source, and of the label map."""

    slide: float
    source: str | None
    label: float


class ModelRef(Answer):
    """The model that labels: its name and the sha256 of its weights."""

    name: str
    version: str
    sha256: str


class Notice(Answer):
    """What to know before a result is trusted: `code` for programs, `words` for people."""

    code: str
    words: str


class Result(Answer):
    """What came out of a job: `result.json`."""

    files: dict[str, FileFacts]
    classes: tuple[ClassArea, ...]
    mpp: ResultMpp
    model: ModelRef
    parameters: dict[str, Any]
    megapixels: float
    """Of the slide's level 0, in analysed tiles."""
    megapixels_per_second: float | None
    warnings: tuple[Notice, ...] = ()


class Preflight(Answer):
    """What a job with the options asked about would run with."""

    model: ModelRef
    parameters: dict[str, Any]


class CardClass(Answer):
    """One class of a model."""

    value: int
    name: str
    colour: tuple[int, int, int]


class CardInput(Answer):
    """What a model reads; `mpp` is in um/px."""

    mpp: float


class CardWeights(Answer):
    """Weights of a model."""

    sha256: str


class ServedModel(Answer):
    """Card of a model that workers serve."""

    name: str
    version: str
    title: str
    phantom: bool
    """Whether it was trained on synthetic slides only."""
    classes: tuple[CardClass, ...]
    input: CardInput
    weights: CardWeights


class ServedModels(Answer):
    """The models that workers serve, and the name of the one that jobs get by default."""

    default: str
    models: tuple[ServedModel, ...]


class BatchCounts(Answer):
    """Slides of a batch, by what has become of them."""

    total: int
    waiting: int
    queued: int
    running: int
    succeeded: int
    failed: int
    cancelled: int

    @property
    def over(self) -> int:
        """How many are over, however they ended."""
        return self.succeeded + self.failed + self.cancelled


class Batch(Answer):
    """A batch as it was when the service answered."""

    id: str
    name: str
    state: BatchState
    slides: BatchCounts
    created_at: datetime
    finished_at: datetime | None
    model: str


class BatchPage(Answer):
    """A page of a listing of batches."""

    batches: tuple[Batch, ...]
    next_cursor: str | None


class Removed(Answer):
    """A job or a slide that goes; `name` is that of the slide."""

    id: str
    name: str
    bytes: int
    why: str


class PruneReport(Answer):
    """What was removed, or would be; of many only the first are named."""

    dry_run: bool
    job_count: int
    slide_count: int
    bytes: int
    jobs: tuple[Removed, ...]
    slides: tuple[Removed, ...]


class SlidePage(Answer):
    """Answer of a listing of slides."""

    slides: tuple[Slide, ...]


class JobPage(Answer):
    """A page of a listing of jobs."""

    jobs: tuple[Job, ...]
    next_cursor: str | None
