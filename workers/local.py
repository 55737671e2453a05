"""Run jobs in an engine process of one's own, without queue and service. No torch here."""

from collections.abc import Callable
from types import TracebackType
from typing import Self

from .errors import EngineDiedError, LocalRunError
from .jobs import Problem, Progress
from .protocol import Clean, Failed, FromEngine, Identified, ProgressMade, Ready, RunJob, Succeeded, Written
from .rq_worker.engine_process import ENGINE, EngineProcess, EngineState, Target
from .settings import WorkerSettings

POLL_S = 1.0


class LocalEngine:
    """Engine process that this process alone uses; a context that starts and stops it.

    It survives a decoder that crashes on a slide, and ends with this process, however that ends. As every
    spawned process it imports the caller's `__main__`: a script of yours needs `if __name__ == "__main__":`.
    """

    def __init__(self, settings: WorkerSettings, target: Target = ENGINE) -> None:
        """Take the settings of a worker; `target` is what the process runs."""
        self._engine = EngineProcess(target, settings)
        self._settings = settings

    def __enter__(self) -> Self:
        self._engine.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._engine.stop()

    def loaded(self) -> Ready:
        """Wait until the default model is loaded, and return what the process says of itself.

        Raises:
            LocalRunError: it cannot be loaded.
        """
        while self._engine.state is EngineState.STARTING:
            self._engine.receive(POLL_S)
        if self._engine.ready is None or self._engine.state is EngineState.FAILED:
            raise failure(self._engine.problem)
        return self._engine.ready

    def run(self, job: RunJob, report: Callable[[Progress], None] = lambda _: None) -> None:
        """Run a job to its end, in new processes if it crashes one, as often as the settings' `max_crashes`.

        It goes on from what an earlier run left in its directory.

        Raises:
            LocalRunError: it did not succeed.
        """
        problem: Problem | None = None
        for _ in range(self._settings.max_crashes):
            self.loaded()
            message = self._attempt(job, report)
            if isinstance(message, Succeeded):
                return
            problem = message.problem if isinstance(message, Failed) else None
            if not isinstance(message, Failed) or not message.suspect:
                break
            self._engine.start()
        raise failure(problem)

    def _attempt(self, job: RunJob, report: Callable[[Progress], None]) -> FromEngine:
        """Run a job once and return how it ended; a dead process is a suspect failure."""
        try:
            self._engine.send(job)
            while True:
                message = self._engine.receive(POLL_S)
                if isinstance(message, ProgressMade):
                    report(message.progress)
                elif isinstance(message, Written):
                    self._engine.send(Clean(job.job_id))
                elif isinstance(message, Identified):
                    continue
                elif message is not None:
                    return message
        except EngineDiedError as error:
            return Failed(Problem("engine-died", "The engine process ended", str(error)), suspect=True)


def failure(problem: Problem | None) -> LocalRunError:
    """Return the error that tells of a problem."""
    return LocalRunError(problem.detail if problem else "The model process stopped before it was done.")
