"""Routes of the models that workers serve."""

from typing import Any

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from redis.exceptions import RedisError

from workers.queue.client import JobClient

from ..dependencies import Queue
from ..errors import ModelNotFoundError, ModelNotReadyError
from ..model_schemas import ModelCardOut, ModelList, card_out
from ..openapi import Responses, problems

router = APIRouter(prefix="/models", tags=["models"])

LIST: Responses = {200: {"model": ModelList}, **problems(ModelNotReadyError, RedisError)}
ONE: Responses = {
    200: {"model": ModelCardOut},
    **problems(ModelNotFoundError, ModelNotReadyError, RedisError),
}


@router.get("", response_model=None, responses=LIST)
def list_models(queue: Queue) -> JSONResponse:
    """List the model cards: classes, colours, mpp, sizes, training and metrics; no curves of losses."""
    default, cards = announced(queue)
    return JSONResponse({"default": default, "models": [card_out(card, whole=False) for card in cards]})


@router.get("/{name}", response_model=None, responses=ONE)
def get_model(name: str, queue: Queue) -> JSONResponse:
    """Get one model card, whole."""
    for card in announced(queue)[1]:
        if card["name"] == name:
            return JSONResponse(card_out(card, whole=True))
    raise ModelNotFoundError(
        f"No worker serves a model named {name!r}; GET /v1/models lists those there are."
    )


def announced(queue: JobClient) -> tuple[str, tuple[dict[str, Any], ...]]:
    """Return the name of the default model and all cards.

    Raises:
        ModelNotReadyError: when none has yet.
    """
    models = queue.models()
    if models.default is None:
        raise ModelNotReadyError("No worker has announced its models yet; try again in a few seconds.")
    return models.default, models.cards
