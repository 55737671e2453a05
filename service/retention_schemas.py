"""Pydantic models of the requests and answers about what is removed."""

from pydantic import BaseModel, Field

from .retention import Doomed, RetentionRules
from .schemas import JOB_ID, example
from .settings import GIGABYTE

SHOWN = 1000
"""Jobs and slides that an answer names, each."""


class PruneRequest(BaseModel):
    """What to keep. Whatever is not said is kept."""

    model_config = example({"results_days": 90, "max_slides_gb": 2000, "dry_run": True})
    model_config["extra"] = "forbid"
    results_days: float | None = Field(None, gt=0, description="Remove jobs that were over before that.")
    slides_days: float | None = Field(None, gt=0, description="Remove slides that no job used since.")
    max_results_gb: float | None = Field(None, ge=0, description="Remove the oldest results beyond that.")
    max_slides_gb: float | None = Field(
        None,
        ge=0,
        description="Remove uploaded slides beyond that, those first not used for longest.",
    )
    dry_run: bool = Field(True, strict=True, description="Only say what would go.")

    def rules(self) -> RetentionRules:
        """Return the rules."""
        return RetentionRules(
            self.results_days,
            self.slides_days,
            None if self.max_results_gb is None else self.max_results_gb * GIGABYTE,
            None if self.max_slides_gb is None else self.max_slides_gb * GIGABYTE,
        )


class DoomedOut(BaseModel):
    """A job or a slide that goes."""

    id: str
    name: str = Field(description="Of the slide.")
    bytes: int = Field(description="What its files take.")
    why: str


class PruneOut(BaseModel):
    """What was removed, or would be."""

    model_config = example(
        {
            "dry_run": True,
            "job_count": 1,
            "slide_count": 0,
            "bytes": 1_204_332,
            "jobs": [{"id": JOB_ID, "name": "a.svs", "bytes": 1_204_332, "why": "not used for 97 days"}],
            "slides": [],
        }
    )
    dry_run: bool
    job_count: int
    slide_count: int
    bytes: int
    jobs: list[DoomedOut] = Field(description=f"The first {SHOWN}, the oldest first.")
    slides: list[DoomedOut]

    @classmethod
    def of(cls, jobs: list[Doomed], slides: list[Doomed], *, dry_run: bool) -> "PruneOut":
        """Return the JSON form of what goes."""
        return cls(
            dry_run=dry_run,
            job_count=len(jobs),
            slide_count=len(slides),
            bytes=sum(one.bytes for one in (*jobs, *slides)),
            jobs=[DoomedOut.model_validate(one, from_attributes=True) for one in jobs[:SHOWN]],
            slides=[DoomedOut.model_validate(one, from_attributes=True) for one in slides[:SHOWN]],
        )
