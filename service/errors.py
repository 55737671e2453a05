"""Map errors to HTTP: the error tree of this room, and one table from every error of the product to a status.

ServiceError
├── SlideNotFoundError
├── SlideInUseError
├── SlideTooLargeError
├── SlideNameError
├── UploadNotFoundError
├── UploadOffsetError
├── UploadBusyError
├── UploadIdleError
├── UploadDamagedError
├── UploadMediaTypeError
├── TusVersionError
├── ArchiveError
├── RootNotAllowedError
├── RequestInvalidError
├── BodyTooLargeError
├── ModelUnknownError
├── ModelNotFoundError
├── ModelNotReadyError
├── PrecisionError
├── ResultNotReadyError
├── ResultFileNotFoundError
├── TileNotFoundError
├── TileUnreadableError
├── SlideQuarantinedError
├── TilesBusyError
├── RangeNotSatisfiableError
├── PageNotFoundError
├── ConversionFailedError
├── StorageFullError
├── KeyNeededError
├── ScopeMissingError
├── HostNotAllowedError
├── OriginNotAllowedError
├── RateLimitedError
├── MetricsOffError
├── WebhookAddressError
├── KeyNameError
└── KeyUnknownError
"""

from http import HTTPStatus
from typing import Any

from fastapi.responses import JSONResponse
from redis.exceptions import RedisError

from workers.errors import (
    BatchFinalError,
    BatchNotFoundError,
    IdempotencyConflictError,
    JobFinalError,
    JobNotFoundError,
    WebhookNotFoundError,
)
from workers.jobs import problem_type
from wsi.errors import (
    HaloError,
    MppOutOfRangeError,
    MppUnknownError,
    OutputUnavailableError,
    RegionsInvalidError,
    SlideLimitError,
    SlideUnreadableError,
)


class ServiceError(Exception):
    """Base of the errors that the service raises itself."""


class SlideNotFoundError(ServiceError):
    """No slide has this id."""


class SlideInUseError(ServiceError):
    """A job that has not finished still reads this slide."""


class SlideTooLargeError(ServiceError):
    """The upload is larger than this service takes."""


class SlideNameError(ServiceError):
    """The file name given for an upload cannot be used."""


class UploadNotFoundError(ServiceError):
    """There is no unfinished upload of this id, or it has expired."""


class UploadOffsetError(ServiceError):
    """The upload has another number of bytes than the request goes on from."""

    def __init__(self, offset: int) -> None:
        """`offset` is how many it has."""
        super().__init__(f"The upload has {offset} bytes; go on from there.")
        self.offset = offset


class UploadBusyError(ServiceError):
    """Another request appends to this upload."""


class UploadIdleError(ServiceError):
    """No byte of the body came for too long."""


class UploadDamagedError(ServiceError):
    """The uploaded bytes do not have the sha256 that was announced."""


class UploadMediaTypeError(ServiceError):
    """Bytes of an upload need the Content-Type application/offset+octet-stream."""


class TusVersionError(ServiceError):
    """The request does not speak version 1.0.0 of the tus protocol."""


class ArchiveError(ServiceError):
    """An uploaded zip archive cannot be unpacked safely."""


class RootNotAllowedError(ServiceError):
    """A path to register lies outside the folders this service may read."""


class RequestInvalidError(ServiceError):
    """The request is well-formed HTTP, but its parameters or body are not what this call takes."""


class BodyTooLargeError(ServiceError):
    """The JSON body is larger than this service takes."""


class ModelUnknownError(ServiceError):
    """No worker serves a model of this name."""


class ModelNotFoundError(ServiceError):
    """There is no card of this name."""


class ModelNotReadyError(ServiceError):
    """No worker has announced its models yet."""


class PrecisionError(ServiceError):
    """No worker's device computes in this precision."""


class ResultNotReadyError(ServiceError):
    """The job has not come so far that it has what was asked for."""

    def __init__(self, detail: str, *, is_coming: bool = False) -> None:
        """`is_coming` tells the client to ask again soon."""
        super().__init__(detail)
        self.is_coming = is_coming


class TileNotFoundError(ServiceError):
    """The image has no such tile."""

    def __init__(self, level: int, column: int, row: int) -> None:
        super().__init__(
            f"There is no tile ({column}, {row}) of level {level}; the JSON of `tiles` says which there are."
        )


class TileUnreadableError(ServiceError):
    """The slide has pixels here that cannot be read."""


class SlideQuarantinedError(ServiceError):
    """The slide killed or stalled the processes that read it, and is left alone for a while."""


class TilesBusyError(ServiceError):
    """More tiles are asked for than can be read."""


class ResultFileNotFoundError(ServiceError):
    """The result has no file of this name."""


class RangeNotSatisfiableError(ServiceError):
    """The `Range` lies outside the file."""

    def __init__(self, size: int) -> None:
        """`size` is that of the file, in bytes."""
        super().__init__(f"The file has {size} bytes; ask for a Range of them, or for none to get all.")
        self.size = size


class PageNotFoundError(ServiceError):
    """The browser page has no such file."""


class ConversionFailedError(ServiceError):
    """A result file that is made on request could not be made."""


class StorageFullError(ServiceError):
    """The upload does not fit on the disk."""


class KeyNeededError(ServiceError):
    """The call needs an API key and has none that is valid."""


class ScopeMissingError(ServiceError):
    """The key that was sent does not allow this call."""


class HostNotAllowedError(ServiceError):
    """The `Host` header names another service than this one."""


class OriginNotAllowedError(ServiceError):
    """A page of another origin sent the call."""


class RateLimitedError(ServiceError):
    """The key has used up its calls for now."""

    def __init__(self, per_minute: int, *, retry_s: float) -> None:
        super().__init__(f"This key allows {per_minute} calls a minute; go on in {retry_s:.0f} s.")
        self.retry_s = retry_s


class MetricsOffError(ServiceError):
    """This service shows no metrics."""


class WebhookAddressError(ServiceError):
    """The address of a webhook cannot be sent to, or lies in a network that this service may not reach."""


class KeyNameError(ServiceError):
    """A new key cannot have this name."""


class KeyUnknownError(ServiceError):
    """No key has this id or name."""


STATUS: dict[type[Exception], int] = {
    KeyNeededError: 401,
    ScopeMissingError: 403,
    OriginNotAllowedError: 403,
    RootNotAllowedError: 403,
    SlideNotFoundError: 404,
    JobNotFoundError: 404,
    BatchNotFoundError: 404,
    WebhookNotFoundError: 404,
    ModelNotFoundError: 404,
    TileNotFoundError: 404,
    MetricsOffError: 404,
    PageNotFoundError: 404,
    UploadNotFoundError: 404,
    UploadIdleError: 408,
    SlideInUseError: 409,
    UploadOffsetError: 409,
    JobFinalError: 409,
    BatchFinalError: 409,
    ResultNotReadyError: 409,
    ResultFileNotFoundError: 404,
    SlideTooLargeError: 413,
    BodyTooLargeError: 413,
    TusVersionError: 412,
    UploadMediaTypeError: 415,
    RangeNotSatisfiableError: 416,
    SlideNameError: 422,
    UploadDamagedError: 422,
    ArchiveError: 422,
    RequestInvalidError: 422,
    ModelUnknownError: 422,
    PrecisionError: 422,
    IdempotencyConflictError: 422,
    SlideUnreadableError: 422,
    SlideLimitError: 422,
    MppUnknownError: 422,
    WebhookAddressError: 422,
    MppOutOfRangeError: 422,
    HaloError: 422,
    RegionsInvalidError: 422,
    OutputUnavailableError: 422,
    HostNotAllowedError: 421,
    UploadBusyError: 423,
    RateLimitedError: 429,
    TileUnreadableError: 502,
    SlideQuarantinedError: 502,
    TilesBusyError: 503,
    ModelNotReadyError: 503,
    ConversionFailedError: 500,
    RedisError: 503,
    StorageFullError: 507,
}
"""Status of each error. Looked up along the class's ancestors, nearest first; what is not here is a 500."""

RETRY_SECONDS = "2"
"""`Retry-After` of a 503, and of what a job will soon have."""

PROBLEM_JSON = "application/problem+json"
"""Media type of problem documents."""

QUEUE_UNAVAILABLE = "The queue does not answer; try again."


def problem_document(status: int, *, kind: str, detail: str, **members: str) -> dict[str, Any]:
    """Return an RFC 9457 problem document with the extension `members`."""
    return {
        "type": f"urn:darefine:problem:{kind}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        **members,
    }


def problem_kind(error: type[Exception]) -> str:
    """Return the last part of the `type` of an error's problem document."""
    return "queue-unavailable" if issubclass(error, RedisError) else problem_type(error)


def problem(
    status: int, *, kind: str, detail: str, headers: dict[str, str] | None = None, **members: str
) -> JSONResponse:
    """Return a problem document as a response."""
    body = problem_document(status, kind=kind, detail=detail, **members)
    return JSONResponse(body, status, headers=headers, media_type=PROBLEM_JSON)
