"""The client's side: keep jobs coming, whatever happens to the service, and note what becomes of them."""

import random
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from darefine.client import Client, ClientError, Job
from darefine.client.answers import Result

WAITING = 4
"""Jobs that wait or run at a time."""

FINISH_S = 600.0


def file_hashes(result: Result) -> dict[str, str]:
    """Return the sha256 of each file of a result."""
    return {name: file.sha256 for name, file in result.files.items()}


class Laboratory(threading.Thread):
    """Submits jobs on slides in place and follows them until they are over.

    Args:
        client: of the service.
        slides: files that it may read.
        wanted: jobs in all, at least.
        seed: of the order of slides.
    """

    def __init__(self, client: Client, slides: Sequence[Path], wanted: int, seed: int) -> None:
        super().__init__(name="laboratory", daemon=True)
        self._client = client
        self._slides = slides
        self._wanted = wanted
        self._rng = random.Random(seed)
        self.more = True
        """Whether to submit any more."""
        self.slide_of: dict[str, Path] = {}
        self.over: dict[str, Job] = {}
        self.refused = 0

    @property
    def behind(self) -> bool:
        """Whether fewer jobs are over than wanted."""
        return len(self.over) < self._wanted

    def finish(self) -> None:
        """Wait until the jobs that were submitted are over, for FINISH_S at most; what is not is lost."""
        self.join(FINISH_S)

    def run(self) -> None:
        """Submit and poll."""
        while self.more or len(self.over) < len(self.slide_of):
            waiting = [job_id for job_id in self.slide_of if job_id not in self.over]
            if self.more and len(waiting) < WAITING:
                self._submit()
            for job_id in waiting:
                self._look(job_id)
            time.sleep(0.2)

    def _submit(self) -> None:
        slide = self._rng.choice(self._slides)
        try:
            self.slide_of[self._client.submit(uri=str(slide), force=True).id] = slide
        except ClientError:
            self.refused += 1

    def _look(self, job_id: str) -> None:
        try:
            job = self._client.job(job_id)
        except ClientError:
            return
        if job.state.is_final:
            self.over[job_id] = job
