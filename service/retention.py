"""Remove old results and slides: by age, and where they take more than a quota, the oldest first."""

import contextlib
import logging
import shutil
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from redis.exceptions import RedisError

from workers.errors import JobNotFoundError
from workers.jobs import Job
from workers.queue.client import JobClient

from .errors import SlideNotFoundError
from .settings import GIGABYTE, ServiceSettings
from .slides.store import SlideStore, StoredSlide

logger = logging.getLogger(__name__)

DAY_S = 86_400.0

EVERY_S = 3600.0
"""Seconds between two removals by the service itself."""

PAGE = 200


@dataclass(frozen=True, slots=True)
class RetentionRules:
    """What is kept; None keeps all."""

    results_days: float | None = None
    slides_days: float | None = None
    results_bytes: float | None = None
    slides_bytes: float | None = None

    @classmethod
    def of(cls, settings: ServiceSettings) -> Self:
        """Return the rules that settings state."""
        return cls(
            settings.keep_results_days,
            settings.keep_slides_days,
            _bytes(settings.max_results_gb),
            _bytes(settings.max_slides_gb),
        )

    @property
    def keep_all(self) -> bool:
        """Whether nothing is ever removed."""
        return self == RetentionRules()


@dataclass(frozen=True, slots=True)
class Doomed:
    """A job or a slide that goes."""

    id: str
    name: str
    bytes: int
    """What its files take; 0 for a slide whose bytes others share, or that is registered in place."""
    why: str


@dataclass(frozen=True, slots=True)
class _Candidate:
    """What may go: jobs that are over, slides that no job reads."""

    id: str
    name: str
    used_at: float
    bytes: int
    shared: str
    """Candidates of the same bytes have the same."""


class Retention:
    """Finds what the rules remove, and removes it."""

    def __init__(self, queue: JobClient, slides: SlideStore, rules: RetentionRules) -> None:
        self._queue = queue
        self._slides = slides
        self._rules = rules
        self._next = 0.0

    def sweep(self) -> None:
        """Remove what the service's own rules remove, once in EVERY_S; does nothing in between."""
        if self._rules.keep_all or time.monotonic() < self._next:
            return
        self._next = time.monotonic() + EVERY_S
        try:
            jobs, slides = self.find(self._rules)
            self.remove(jobs, slides)
        except RedisError as error:
            logger.warning("nothing is removed while the queue does not answer: %s", error)

    def find(self, rules: RetentionRules) -> tuple[list[Doomed], list[Doomed]]:
        """Return the jobs and the slides that rules remove, the oldest first."""
        used: dict[str, float] = {}
        busy: set[str] = set()
        over: list[_Candidate] = []
        for job in self._jobs():
            slide_id, at = job.request.slide_id, job.finished_at or job.created_at
            used[slide_id] = max(at, used.get(slide_id, 0.0))
            if job.created_at == 0:
                continue  # its record cannot be read, perhaps by this version only
            if job.state.is_final:
                over.append(_of_job(job))
            else:
                busy.add(slide_id)
        stored = self._slides.list()
        idle = [_of_slide(slide, used.get(slide.id, 0.0)) for slide in stored if slide.id not in busy]
        # Counted once, with whatever shares the bytes.
        needed = {slide.sha256: slide.bytes for slide in stored if slide.id in busy and slide.sha256}
        jobs = doomed(over, rules.results_days, rules.results_bytes)
        slides = doomed(idle, rules.slides_days, rules.slides_bytes, needed=needed)
        return jobs, slides

    def remove(self, jobs: Iterable[Doomed], slides: Iterable[Doomed]) -> None:
        """Remove jobs with their files, and slides; what is gone or in use by now is passed over."""
        for job in jobs:
            with contextlib.suppress(JobNotFoundError):
                shutil.rmtree(self._queue.delete(job.id).directory, ignore_errors=True)
                logger.info("job %s removed: %s", job.id, job.why)
        for slide in slides:
            if self._queue.unfinished(slide.id):
                continue
            with contextlib.suppress(SlideNotFoundError):
                self._slides.delete(slide.id)
                logger.info("slide %s removed: %s", slide.id, slide.why)

    def _jobs(self) -> Iterator[Job]:
        cursor = None
        while True:
            page, cursor = self._queue.list(cursor=cursor, limit=PAGE)
            yield from page
            if cursor is None:
                return


def doomed(
    candidates: Iterable[_Candidate],
    days: float | None,
    quota: float | None,
    *,
    needed: Mapping[str, int] | None = None,
) -> list[Doomed]:
    """Return the candidates that go: those not used for `days`, and the oldest beyond `quota` bytes.

    `needed` has the bytes, by what they are shared under, that stay whatever goes.
    """
    oldest_first = sorted(candidates, key=lambda one: (one.used_at, one.id))
    now, going = time.time(), []
    sharing = Counter(list(needed or ()))
    sharing.update(one.shared for one in oldest_first)
    taken = sum({**(needed or {}), **{one.shared: one.bytes for one in oldest_first}}.values())
    for one in oldest_first:
        age_days = (now - one.used_at) / DAY_S
        if days is not None and age_days > days:
            why = f"not used for {age_days:.0f} days"
        elif quota is not None and taken > quota and one.bytes:
            why = "beyond the quota"
        else:
            continue
        sharing[one.shared] -= 1
        freed = 0 if sharing[one.shared] else one.bytes
        taken -= freed
        going.append(Doomed(one.id, one.name, freed, why))
    return going


def _of_job(job: Job) -> _Candidate:
    size, used_at = _size(Path(job.directory)), job.finished_at or job.created_at
    return _Candidate(job.id, job.request.slide_name, used_at, size, job.id)


def _of_slide(slide: StoredSlide, used_at: float) -> _Candidate:
    size = slide.bytes if slide.sha256 else 0
    return _Candidate(slide.id, slide.name, max(used_at, slide.created_at), size, slide.sha256 or slide.id)


def _size(folder: Path) -> int:
    """Return the bytes of all files in a folder; those that vanish meanwhile count nothing."""
    total = 0
    for file in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += file.stat().st_size if file.is_file() else 0
    return total


def _bytes(gigabytes: float | None) -> float | None:
    return None if gigabytes is None else gigabytes * GIGABYTE
