"""Upload routes: the tus protocol 1.0.0 (https://tus.io/protocols/resumable-upload), whose end is a slide."""

import base64
import binascii
import contextlib
from email.utils import formatdate
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.concurrency import contextmanager_in_threadpool, run_in_threadpool
from starlette.requests import ClientDisconnect

from wsi.errors import SlideLimitError, SlideUnreadableError

from ..access.keys import Scope
from ..access.limits import require_body_size
from ..access.middleware import Caller as AccessCaller
from ..dependencies import Caller, Inspections, Settings, Uploads, UploadTurns
from ..errors import (
    ArchiveError,
    RequestInvalidError,
    SlideNameError,
    SlideNotFoundError,
    SlideTooLargeError,
    StorageFullError,
    TusVersionError,
    UploadBusyError,
    UploadDamagedError,
    UploadIdleError,
    UploadMediaTypeError,
    UploadNotFoundError,
    UploadOffsetError,
)
from ..openapi import problems
from ..receive import stream_body
from ..schemas import PREFIX
from ..slides.resumable import ResumableUpload, ResumableUploads
from ..turns import Turn
from .jobs import declared_length

VERSION = "1.0.0"
MEDIA_TYPE = "application/offset+octet-stream"
EXTENSIONS = "creation,expiration,termination"

CAPABILITIES = {"Tus-Version": VERSION, "Tus-Extension": EXTENSIONS}
EVERY_ANSWER = {"Tus-Resumable": VERSION}


async def speak_tus(
    request: Request,
    response: Response,
    tus_resumable: Annotated[str | None, Header(description="Version of tus that the client speaks")] = None,
) -> None:
    """Put the version on every answer.

    Raises:
        TusVersionError: when the client speaks another, or says none.
    """
    request.state.answer_headers = EVERY_ANSWER
    response.headers.update(EVERY_ANSWER)
    if request.method != "OPTIONS" and tus_resumable != VERSION:
        request.state.answer_headers = {**EVERY_ANSWER, **CAPABILITIES}
        raise TusVersionError(f"Send the header Tus-Resumable: {VERSION}.")


router = APIRouter(prefix="/uploads", tags=["uploads"], dependencies=[Depends(speak_tus)])

NO_UPLOAD = problems(UploadNotFoundError, UploadBusyError, TusVersionError)


@router.options("", status_code=204)
def capabilities(response: Response, uploads: Uploads) -> None:
    """Say what of tus is spoken here."""
    response.headers.update({**CAPABILITIES, "Tus-Max-Size": str(uploads.max_bytes)})


@router.post(
    "",
    status_code=201,
    response_class=Response,
    responses=problems(
        SlideTooLargeError, SlideNameError, StorageFullError, RequestInvalidError, TusVersionError
    ),
)
def begin_upload(
    response: Response,
    uploads: Uploads,
    caller: Caller,
    upload_length: Annotated[int, Header(ge=0, description="Bytes of the whole file")],
    upload_metadata: Annotated[
        str,
        Header(
            description="`filename` and, if it is known, `sha256` of the whole file, each with its value in "
            "base64, separated by a comma",
            examples=["filename c2xpZGUuc3Zz"],
        ),
    ],
) -> None:
    """Begin an upload that can be resumed; `Location` says where its bytes go."""
    metadata = read_metadata(upload_metadata)
    sha256 = metadata.get("sha256")
    if sha256 is not None and (len(sha256) != 64 or set(sha256) - set("0123456789abcdef")):
        raise RequestInvalidError("sha256 in Upload-Metadata must have 64 hexadecimal digits, in lower case.")
    if caller.key is not None and caller.key.max_slide_bytes is not None:
        require_body_size(str(upload_length), caller.key.max_slide_bytes)
    upload = uploads.create(metadata.get("filename", ""), upload_length, caller.owner, sha256)
    response.headers["Location"] = f"{PREFIX}/uploads/{upload.id}"
    tell_expiry(response, uploads, upload)


@router.head("/{upload_id}", response_class=Response, responses=NO_UPLOAD)
async def ask_upload(
    upload_id: str, response: Response, uploads: Uploads, turns: UploadTurns, caller: Caller
) -> None:
    """Ask how many bytes are here, to go on from there; a request that still appends is ended.

    `Location` names the slide once the upload has become one.
    """
    upload = await run_in_threadpool(uploads.get, upload_id, owner_asked(caller))
    await turns.interrupt(upload_id)
    upload = await run_in_threadpool(uploads.get, upload_id, owner_asked(caller))
    offset = await run_in_threadpool(uploads.offset, upload)
    response.headers.update(
        {"Upload-Offset": str(offset), "Upload-Length": str(upload.length), "Cache-Control": "no-store"}
    )
    if upload.slide_id is not None:
        response.headers["Location"] = f"{PREFIX}/slides/{upload.slide_id}"
    tell_expiry(response, uploads, upload)


@router.patch(
    "/{upload_id}",
    status_code=204,
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        }
    },
    responses=problems(
        UploadNotFoundError,
        UploadOffsetError,
        UploadBusyError,
        UploadIdleError,
        UploadDamagedError,
        UploadMediaTypeError,
        TusVersionError,
        RequestInvalidError,
        SlideTooLargeError,
        SlideNotFoundError,
        SlideNameError,
        ArchiveError,
        SlideUnreadableError,
        SlideLimitError,
        StorageFullError,
    ),
)
async def append_to_upload(
    upload_id: str,
    request: Request,
    response: Response,
    uploads: Uploads,
    turns: UploadTurns,
    inspections: Inspections,
    settings: Settings,
    caller: Caller,
    *,
    upload_offset: Annotated[int, Header(ge=0, description="Bytes that are here already")],
) -> None:
    """Append bytes. With the last ones the upload becomes a slide, and `Location` names it.

    If that answer is lost, append nothing at the end: the answer is the same.
    """
    if request.headers.get("content-type") != MEDIA_TYPE:
        raise UploadMediaTypeError(f"Send the bytes as Content-Type: {MEDIA_TYPE}.")
    await run_in_threadpool(uploads.get, upload_id, owner_asked(caller))
    async with turns.take(upload_id) as turn:
        upload = await run_in_threadpool(uploads.get, upload_id, owner_asked(caller))
        offset = await append(request, uploads, upload, upload_offset, turn, settings.upload_idle_s)
        response.headers["Upload-Offset"] = str(offset)
        if offset == upload.length:
            async with inspections:
                slide = await run_in_threadpool(uploads.finish, upload)
            response.headers["Location"] = f"{PREFIX}/slides/{slide.id}"
    tell_expiry(response, uploads, upload)


@router.delete("/{upload_id}", status_code=204, responses=NO_UPLOAD)
async def drop_upload(upload_id: str, uploads: Uploads, turns: UploadTurns, caller: Caller) -> None:
    """Remove an upload; a slide that was made of it stays."""
    await run_in_threadpool(uploads.get, upload_id, owner_asked(caller))
    async with turns.take(upload_id):
        await run_in_threadpool(uploads.remove, upload_id)


async def append(
    request: Request,
    uploads: ResumableUploads,
    upload: ResumableUpload,
    offset: int,
    turn: Turn,
    idle_s: float,
) -> int:
    """Append the body to an upload and return how many bytes that has then.

    Raises:
        UploadOffsetError: when it does not have `offset` bytes.
        SlideTooLargeError: when the body has more bytes than the upload lacks.
    """
    if upload.slide_id is not None:
        if offset != upload.length:
            raise UploadOffsetError(upload.length)
        return offset
    async with contextmanager_in_threadpool(uploads.writer(upload, offset)) as writer:
        if (declared_length(request) or 0) > upload.length - offset:
            raise SlideTooLargeError(
                f"The upload was said to have {upload.length} bytes, and there come more."
            )
        # What came before the client left is kept, and may be all.
        with contextlib.suppress(ClientDisconnect):
            await stream_body(request, writer.write, idle_s=idle_s, turn=turn)
    return writer.offset


def owner_asked(caller: AccessCaller) -> str | None:
    """Return whose uploads a caller may go on with: None for everybody's."""
    return None if caller.scope.covers(Scope.ADMIN) else caller.owner


def tell_expiry(response: Response, uploads: ResumableUploads, upload: ResumableUpload) -> None:
    """Say when an upload is removed unless it is gone on with."""
    response.headers["Upload-Expires"] = formatdate(uploads.expires_at(upload), usegmt=True)


def read_metadata(header: str) -> dict[str, str]:
    """Return the pairs of an Upload-Metadata header.

    Raises:
        RequestInvalidError: when a value is not base64 of UTF-8 text.
    """
    pairs = (pair.strip().partition(" ") for pair in header.split(",") if pair.strip())
    try:
        return {key: base64.b64decode(value, validate=True).decode() for key, _, value in pairs}
    except (binascii.Error, UnicodeDecodeError) as error:
        raise RequestInvalidError(
            "Upload-Metadata must hold keys with their values in base64, such as `filename c2xpZGUuc3Zz`."
        ) from error
