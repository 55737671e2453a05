"""Label slides on this machine, without a service and without a queue, through the service's own pipeline."""

import contextlib
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from darefine.client import ModelRef, Preflight
from darefine.client.sending import members_of, sha256_of
from model.card import ModelCard
from model.model_folder import locate_card
from model.onnx_graph import onnx_packages
from workers.errors import LocalRunError, ModelUnknownError
from workers.jobs import JobFiles, JobParameters, Progress, new_job_id
from workers.local import LocalEngine
from workers.protocol import RunJob
from workers.settings import WorkerSettings
from wsi.atomic import atomic_file
from wsi.geometry import Size
from wsi.grid import make_grid
from wsi.slide_folders import FoundSlide
from wsi.writing.output_extras import check_outputs

from .outcome import End, Outcome
from .slide_files import result_names
from .slide_record import (
    Fingerprint,
    SlideRecord,
    beside,
    label_parameters,
    load_result,
    record_file,
)

NOMINAL_SIZE = Size(100_000, 100_000)
"""Size of the slide that options are judged with before one is opened, level-0 px."""

RUNNING = "running"
"""State of a record whose slide is at work, or was when the process was killed."""

Report = Callable[[Path, Progress], None]
"""Told the slide and how far it is."""


@dataclass(frozen=True, slots=True)
class LocalRun:
    """A run over slides with one model and the same parameters; `settings` names the model as its default."""

    settings: WorkerSettings
    card: ModelCard
    parameters: JobParameters
    report: Report = lambda _slide, _progress: None

    @classmethod
    def of(
        cls,
        settings: WorkerSettings,
        model: str | None,
        parameters: JobParameters,
        report: Report = lambda _slide, _progress: None,
    ) -> "LocalRun":
        """Find the model, and judge the parameters, before anything is loaded.

        Args:
            settings: device, number format, weights folder, as of a worker.
            model: path of a card, or its name in the weights folder; None: the settings' default model.
            parameters: of every slide's job.
            report: told how far each slide is.

        Raises:
            ModelUnknownError: there is no such model.
            CardError: what `model` names is no model card.
            WeightsError: the hub does not have it, or it is an ONNX file and ONNX Runtime is not installed.
            WsiError: no slide could be labelled with these parameters.
        """
        check_outputs(parameters.outputs, None)
        path = find_card(settings, model)
        card = ModelCard.load(path)
        if card.network.architecture == "onnx":
            onnx_packages()
        mpp, halo_px, window = parameters.mpp or card.input.mpp, parameters.halo_px, parameters.window
        make_grid(NOMINAL_SIZE, mpp, card.input, halo_px=halo_px, window=window)
        # Slides and results lie anywhere, and are the caller's own.
        chosen = {"weights_dir": path.parent.resolve(), "default_model": card.name, "sandbox": "off"}
        if parameters.precision is not None:
            chosen["precision"] = parameters.precision
        return cls(settings.model_copy(update=chosen), card, parameters, report)

    def preflight(self) -> Preflight:
        """Return model and parameters as a service says them of the same job."""
        card = self.card
        model = ModelRef(name=card.name, version=card.version, sha256=card.weights.sha256)
        # As it reads back: JSON has no tuples.
        parameters = json.loads(json.dumps(self.parameters.of_labels()))
        return Preflight(model=model, parameters=parameters)

    def label(self, slides: Sequence[tuple[Path, Path]]) -> Generator[Outcome]:
        """Yield what became of each slide; the second path is what the names of its files begin with.

        Slides whose results lie there already are left out. The model is loaded at the first that is not.
        After an interrupt or a kill the same call goes on at the first patch that was not finished.

        Raises:
            LocalRunError: the model cannot be loaded.
        """
        with contextlib.ExitStack() as stack:
            engine: LocalEngine | None = None
            for slide, stem in slides:
                done = self._finished(slide, stem)
                if done is None and engine is None:
                    engine = stack.enter_context(LocalEngine(self.settings))
                    engine.loaded()
                yield done or self._one(engine, slide, stem)

    def _finished(self, slide: Path, stem: Path) -> Outcome | None:
        """Return the outcome of a slide that is done already."""
        file = record_file(stem)
        record = SlideRecord.load(file)
        if record is None or record.state != End.SUCCEEDED or not record.asks_for(self.preflight()):
            return None
        try:
            fingerprint = Fingerprint.of(slide)
            if record.fingerprint != fingerprint:
                if not record.content or record.content != content_sha256(slide):
                    return None
                replace(record, fingerprint=fingerprint).save(file)
        except OSError as error:
            return Outcome(slide, End.FAILED, stem, error=str(error))
        result = load_result(stem)
        return Outcome(slide, End.SKIPPED, stem, result=result) if result else None

    def _one(self, engine: LocalEngine | None, slide: Path, stem: Path) -> Outcome:
        """Label one slide; whatever is wrong with it is part of the outcome."""
        assert engine is not None
        try:
            with exclusive(work_folder(stem)) as folder:
                self._label(engine, slide, stem, folder)
        except (LocalRunError, OSError) as error:
            return Outcome(slide, End.FAILED, stem, error=str(error))
        return Outcome(slide, End.SUCCEEDED, stem, result=load_result(stem))

    def _label(self, engine: LocalEngine, slide: Path, stem: Path, folder: Path) -> None:
        """Run the job of a slide in its work folder, and put the results in their place."""
        file = record_file(stem)
        record = self._record(slide, SlideRecord.load(file))
        record.save(file)
        try:
            engine.run(self._job(slide, record, folder), lambda progress: self.report(slide, progress))
            place(folder, stem)
        except (LocalRunError, OSError) as error:
            with contextlib.suppress(OSError):
                replace(record, state=str(End.FAILED), error=str(error)).save(file)
            if not JobFiles(folder).patches.exists():
                shutil.rmtree(folder, ignore_errors=True)
            raise
        replace(record, state=str(End.SUCCEEDED)).save(file)
        shutil.rmtree(folder, ignore_errors=True)

    def _record(self, slide: Path, old: SlideRecord | None) -> SlideRecord:
        """Return the record of a run that begins, or goes on under the id it had."""
        preflight = self.preflight()
        same = old is not None and old.state == RUNNING and old.asks_for(preflight)
        return SlideRecord(
            slide=str(slide),
            fingerprint=Fingerprint.of(slide),
            content=content_sha256(slide) or "",
            model=preflight.model.name,
            model_sha256=preflight.model.sha256,
            parameters=label_parameters(preflight),
            job_id=old.job_id if old is not None and same else new_job_id(),
            state=RUNNING,
        )

    def _job(self, slide: Path, record: SlideRecord, folder: Path) -> RunJob:
        return RunJob(
            job_id=record.job_id or "",
            attempt=1,
            slide_name=slide.resolve().name if self.settings.slide_names else record.job_id or "",
            slide_path=str(slide.resolve()),
            directory=str(folder),
            model=self.card.name,
            parameters=self.parameters,
            slide_sha256=record.content or None,
        )


def label_slides(
    slides: Sequence[Path | str],
    out: Path | str,
    *,
    model: str | None = None,
    parameters: JobParameters | None = None,
    settings: WorkerSettings | None = None,
    report: Report = lambda _slide, _progress: None,
) -> Iterator[Outcome]:
    """Label slides on this machine and yield what became of each.

    Results are called `<slide>.<model>.overlay.tif` and so on in `out`. A slide whose results lie there
    already, made of the same bytes, weights and parameters, is not labelled again. In a script of yours call
    this under `if __name__ == "__main__":`, for the model runs in a process of its own.

    Args:
        slides: files, or folders of one slide each.
        out: folder for the results.
        model: path of a model card, or its name in the weights folder; the default model if absent.
        parameters: pixel size, halo, number format, where to look (`wsi.read_regions`), further outputs.
        settings: device, weights folder; by default those of the environment (DAREFINE_*).
        report: told each slide and how far it is.

    Raises:
        ModelUnknownError: there is no such model.
        LocalRunError: the model cannot be loaded.
        WsiError: no slide could be labelled with these parameters.
        SameNameError: two slides would have results of the same name.
    """
    run = LocalRun.of(
        settings or WorkerSettings(log_level="ERROR"), model, parameters or JobParameters(), report
    )
    found = [FoundSlide(Path(slide)) for slide in slides]
    names = result_names(found, run.card.name)
    yield from run.label([(one.path, Path(out) / name) for one, name in zip(found, names, strict=True)])


def find_card(settings: WorkerSettings, model: str | None) -> Path:
    """Return the path of a card.

    `model` is a card, a model folder, a name on the hub (see `model.model_folder.locate_card`), or the name
    on a card in the weights folder.

    Raises:
        ModelUnknownError: there is none.
        CardError: a file that `model` names is no model card.
        WeightsError: the hub does not have it.
    """
    if model is not None and (located := locate_card(model)) is not None:
        return located
    wanted = model or settings.default_model
    cards = sorted(settings.weights_dir.glob("*.json"))
    if wanted is None and cards:
        return cards[0]
    names = {ModelCard.load(path).name: path for path in cards}
    if wanted not in names:
        raise ModelUnknownError(
            f"{wanted or 'A model'} is neither a model card nor the name of one in {settings.weights_dir}. "
            f"Known models: {', '.join(names) or 'none'}."
        )
    return names[wanted]


def content_sha256(slide: Path) -> str | None:
    """Return the sha256 of a slide that is one file; None for one of several files, which has none."""
    return sha256_of(slide) if members_of(slide) == [slide] else None


def work_folder(stem: Path) -> Path:
    """Return the folder of a slide's unfinished work."""
    return stem.with_name(f".{stem.name}.run")


@contextlib.contextmanager
def exclusive(folder: Path) -> Iterator[Path]:
    """Make the folder of a slide's work and hold it; the kernel lets go however this process ends.

    Raises:
        LocalRunError: another process works in it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LocalRunError(
                f"Another process labels this slide into {folder.parent}. Wait, or choose another folder."
            ) from None
        yield folder


def place(folder: Path, stem: Path) -> None:
    """Put the result files where they belong, `result.json` last; those of the work stay, for a kill here."""
    files = JobFiles(folder)
    told = json.loads(files.result.read_text(encoding="ascii"))["files"]
    for name in [*told, files.result.name]:
        with atomic_file(beside(stem, name)) as temporary:
            try:
                os.link(folder / name, temporary)
            except OSError:  # a file system without links
                shutil.copyfile(folder / name, temporary)
