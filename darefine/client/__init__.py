"""Typed client of the service: upload, submit, wait, download. Loads no torch."""

from workers.jobs import JobState

from .answers import (
    Batch,
    BatchCounts,
    ClassArea,
    FileFacts,
    Job,
    ModelRef,
    Notice,
    Preflight,
    Progress,
    PruneReport,
    Removed,
    Result,
    ResultMpp,
    ServedModel,
    ServedModels,
    Slide,
    SlideRef,
)
from .client import Client, JobOptions
from .errors import (
    AnswerInvalidError,
    ClientError,
    DownloadDamagedError,
    JobUnsuccessfulError,
    ServiceRefusedError,
    ServiceUnreachableError,
    WaitTimeoutError,
)

__all__ = [
    "AnswerInvalidError",
    "Batch",
    "BatchCounts",
    "ClassArea",
    "Client",
    "ClientError",
    "DownloadDamagedError",
    "FileFacts",
    "Job",
    "JobOptions",
    "JobState",
    "JobUnsuccessfulError",
    "ModelRef",
    "Notice",
    "Preflight",
    "Progress",
    "PruneReport",
    "Removed",
    "Result",
    "ResultMpp",
    "ServedModel",
    "ServedModels",
    "ServiceRefusedError",
    "ServiceUnreachableError",
    "Slide",
    "SlideRef",
    "WaitTimeoutError",
]
