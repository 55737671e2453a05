"""Define the errors of the client.

ClientError
├── ServiceUnreachableError     nobody answers at the service's address
├── ServiceRefusedError         the service answered with a problem document
├── AnswerInvalidError          what answers is no darefine service, or one of another version
├── JobUnsuccessfulError        the job is over and has no result
├── WaitTimeoutError            the job is not over yet
└── DownloadDamagedError        a downloaded file is not what the result says
"""

from typing import Any

import httpx

from .answers import Job


class ClientError(Exception):
    """Base of every error that the client raises on purpose."""


class ServiceUnreachableError(ClientError):
    """Nobody answers at the service's address."""


class ServiceRefusedError(ClientError):
    """The service refused, in the words of its problem document."""

    def __init__(self, response: httpx.Response) -> None:
        """Take the problem document from `response`, or the text of an answer that has none."""
        try:
            problem = response.json()
            detail = str(problem["detail"])
        except (ValueError, KeyError, TypeError):
            problem, detail = {}, response.text[:500]
        super().__init__(f"{response.status_code} {response.reason_phrase}: {detail}")
        self.status = response.status_code
        self.problem: dict[str, Any] = problem
        """The whole document, such as {"type": ..., "title": ..., "status": 422, "detail": ...}."""
        self.detail = detail
        self.retry_after_s = seconds(response.headers.get("retry-after"))

    @property
    def kind(self) -> str:
        """Last part of the problem's `type`, such as `mpp-unknown`; empty if there is none."""
        return str(self.problem.get("type", "")).rpartition(":")[2]


class AnswerInvalidError(ClientError):
    """What answers is no darefine service, or one of another version."""


class JobUnsuccessfulError(ClientError):
    """The job is over and has no result; `job` says why."""

    def __init__(self, job: Job) -> None:
        detail = f" {job.error.detail}" if job.error else ""
        super().__init__(f"The job {job.id} ended as {job.state}.{detail}")
        self.job = job


class WaitTimeoutError(ClientError):
    """The job is not over yet; it runs on. `job` is its last known state."""

    def __init__(self, job: Job, timeout_s: float) -> None:
        super().__init__(f"The job {job.id} is still {job.state} after {timeout_s:g} s. It runs on.")
        self.job = job


class DownloadDamagedError(ClientError):
    """A downloaded file is not what the result says."""


def seconds(text: str | None) -> float | None:
    """Read a Retry-After of whole seconds; None for a date or none."""
    return float(text) if text is not None and text.isdecimal() else None
