"""Session routes: log the browser page in and out, say who calls."""

from typing import Annotated

from fastapi import APIRouter, Cookie, Request, Response

from ..access.middleware import STATE, Caller
from ..access.sessions import COOKIE
from ..access_schemas import CallerOut, SessionCreate
from ..dependencies import Keys, Sessions
from ..errors import KeyNeededError, RequestInvalidError
from ..openapi import problems

router = APIRouter(prefix="/session", tags=["session"])


@router.post("", response_model=CallerOut, responses=problems(KeyNeededError, RequestInvalidError))
def log_in(
    body: SessionCreate, request: Request, response: Response, keys: Keys, sessions: Sessions
) -> CallerOut:
    """Log a browser in with a key: the answer sets a cookie that no script can read."""
    key = keys.find(body.key.strip())
    if key is None:
        raise KeyNeededError("This key is not valid here, or has expired.")
    setattr(request.state, STATE, Caller.of_key(key))
    response.set_cookie(
        COOKIE,
        sessions.open(key),
        max_age=int(sessions.lifetime_s),
        path="/",
        secure=request.url.scheme == "https",
        httponly=True,
        samesite="strict",
    )
    return CallerOut(name=key.name, scope=key.scope.value)


@router.get("", response_model=CallerOut, responses=problems(KeyNeededError))
def who_am_i(request: Request) -> CallerOut:
    """Say who calls and what they may do; 401 when a key is needed and none was given."""
    caller: Caller | None = getattr(request.state, STATE, None)
    if caller is None:
        raise KeyNeededError("Nobody is logged in. Log in with POST /v1/session.")
    return CallerOut(name=caller.key.name if caller.key else caller.name, scope=caller.scope.value)


@router.delete("", status_code=204)
def log_out(
    response: Response,
    sessions: Sessions,
    darefine_session: Annotated[str | None, Cookie(include_in_schema=False)] = None,
) -> None:
    """Log the browser out."""
    if darefine_session is not None:
        sessions.close(darefine_session)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
