"""Run many slides through a service: each is sent, followed and fetched in a thread, and remembered."""

import contextlib
import threading
from collections.abc import Generator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from pathlib import Path

from darefine.client import (
    Client,
    ClientError,
    Job,
    JobOptions,
    JobState,
    JobUnsuccessfulError,
    Preflight,
    ServiceRefusedError,
    Slide,
)
from darefine.outcome import End, Outcome
from darefine.slide_record import Fingerprint, SlideRecord, label_parameters, load_result, record_file
from wsi.slide_folders import FoundSlide

from .progress_bar import ShowProgress, progress_facts

SUBMITTED = "submitted"


class StoppedError(Exception):
    """The command was interrupted."""


class Stop:
    """Flag that ends waiting threads."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """End every wait, now and later."""
        self._event.set()

    def sleep(self, seconds: float) -> None:
        """Pause.

        Raises:
            StoppedError: once `set` was called.
        """
        if self._event.wait(seconds):
            raise StoppedError

    def check(self) -> None:
        """Go on at once; raises what `sleep` raises."""
        self.sleep(0)


@dataclass(frozen=True, slots=True)
class Cohort:
    """A run of a service over slides with the same options.

    `folder` takes the results; `preflight` is what the service said of `options`; `in_place` registers slides
    instead of sending them.
    """

    client: Client
    folder: Path
    preflight: Preflight
    options: JobOptions
    in_place: bool
    show: ShowProgress
    stop: Stop

    def run(self, slides: Sequence[tuple[FoundSlide, Path]], *, at_once: int) -> Generator[Outcome]:
        """Yield what became of each slide and its name, as they end, `at_once` at the same time.

        An interrupt (KeyboardInterrupt in the caller's loop or here) cancels the jobs that are not over and
        comes out once the threads have ended.
        """
        with ThreadPoolExecutor(at_once, thread_name_prefix="slide") as threads:
            waiting = [threads.submit(self.label, slide.path, self.folder / name) for slide, name in slides]
            try:
                for done in as_completed(waiting):
                    yield done.result()
            except BaseException:
                self.stop.set()
                threads.shutdown(wait=False, cancel_futures=True)
                raise

    def label(self, slide: Path, stem: Path) -> Outcome:
        """Label one slide, unless that is done; whatever is wrong with it is part of the outcome.

        Raises:
            StoppedError: when the run is interrupted.
        """
        file = record_file(stem)
        try:
            return self._label(slide, stem, file)
        except (ClientError, OSError) as error:
            self._note(error, file)
            return Outcome(slide, End.FAILED, stem, error=str(error))
        finally:
            self.show(str(slide), 1.0, visible=False)

    def _label(self, slide: Path, stem: Path, file: Path) -> Outcome:
        fingerprint, old = Fingerprint.of(slide), SlideRecord.load(file)
        if old is not None and not old.asks_for(self.preflight):
            old = None
        if old is not None and old.fingerprint != fingerprint:
            stored = self._store(slide)
            old = replace(old, fingerprint=fingerprint) if old.content == content_of(stored) else None
        else:
            stored = None
        if old is not None and old.state == JobState.SUCCEEDED and (result := load_result(stem)):
            old.save(file)
            return Outcome(slide, End.SKIPPED, stem, result=result)
        record = old if old and self._goes_on(old) else self._submit(slide, stored, fingerprint, file)
        assert record.job_id is not None
        job = self._follow(record, file, slide)
        self.client.download_results(
            job.id,
            stem.parent,
            stem=stem.name,
            told=lambda done, total: self._told(slide, "download", done, total),
        )
        replace(record, state=str(job.state)).save(file)
        return Outcome(slide, End.SUCCEEDED, stem, job, load_result(stem))

    def _store(self, slide: Path) -> Slide:
        """Have the service hold the slide."""
        if self.in_place:
            return self.client.register(str(slide.absolute()))
        return self.client.upload(
            slide,
            hashed=lambda done, total: self._told(slide, "check", done, total),
            sent=lambda done, total: self._told(slide, "upload", done, total),
        )

    def _goes_on(self, record: SlideRecord) -> bool:
        """Return whether the job of a record is there and has a result, or may yet have one."""
        if record.job_id is None:
            return False
        try:
            return self.client.job(record.job_id).state not in (JobState.FAILED, JobState.CANCELLED)
        except ServiceRefusedError as error:
            if error.status == 404:
                return False
            raise

    def _submit(self, slide: Path, stored: Slide | None, fingerprint: Fingerprint, file: Path) -> SlideRecord:
        """Queue a job and remember it, so that it is found again whatever happens to this process."""
        record = SlideRecord(
            slide=str(slide),
            fingerprint=fingerprint,
            content="",
            model=self.preflight.model.name,
            model_sha256=self.preflight.model.sha256,
            parameters=label_parameters(self.preflight),
            job_id=None,
            state=SUBMITTED,
        )
        try:
            stored = stored or self._store(slide)
            record = replace(record, content=content_of(stored))
            self.stop.check()
            job = self.client.submit(stored.id, **self.options)
        except (ClientError, OSError) as error:
            replace(record, state="failed", error=str(error)).save(file)
            raise
        record = replace(record, job_id=job.id)
        record.save(file)
        return record

    def _follow(self, record: SlideRecord, file: Path, slide: Path) -> Job:
        """Wait for the job of a record; an interrupt cancels it."""
        assert record.job_id is not None
        try:
            return self.client.wait(record.job_id, progress=lambda job: self._show_job(slide, job))
        except StoppedError:
            with contextlib.suppress(ClientError):
                self.client.cancel(record.job_id)
            replace(record, state="cancelled").save(file)
            raise

    @staticmethod
    def _note(error: Exception, file: Path) -> None:
        """Note why a submitted job has no result here. It keeps its id: the service may have one later."""
        record = SlideRecord.load(file)
        if record is not None and record.state == SUBMITTED:
            state = error.job.state if isinstance(error, JobUnsuccessfulError) else JobState.FAILED
            with contextlib.suppress(OSError):
                replace(record, state=str(state), error=str(error)).save(file)

    def _show_job(self, slide: Path, job: Job) -> None:
        self.stop.check()
        progress = job.progress
        stage = progress.stage if job.state is JobState.RUNNING else str(job.state)
        self.show(str(slide), progress.fraction, label=f"{slide.name}  {stage}", facts=facts(job))

    def _told(self, slide: Path, stage: str, done: int, total: int) -> None:
        self.stop.check()
        size = f"{done / 1e6:.1f}/{total / 1e6:.1f} MB"
        self.show(str(slide), done / total if total else 1.0, label=f"{slide.name}  {stage}", facts=size)


def content_of(slide: Slide) -> str:
    """Return what stands for the pixels of a slide: its sha256, or the id of one that is read in place."""
    return slide.sha256 or slide.id


def facts(job: Job) -> str:
    """Return patches, speed and time left of a job as text, as far as they are known."""
    return progress_facts(job.progress)
