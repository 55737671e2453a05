"""Route that lists the models that workers serve."""

from fastapi import APIRouter
from redis.exceptions import RedisError

from ..dependencies import Queue
from ..errors import ModelNotReadyError
from ..openapi import problems
from ..schemas import ModelList

router = APIRouter(prefix="/models", tags=["models"])


@router.get("", response_model=ModelList, responses=problems(ModelNotReadyError, RedisError))
def list_models(queue: Queue) -> ModelList:
    """List the model cards: classes, colours, mpp, sizes, training and metrics."""
    models = queue.models()
    if models.default is None:
        raise ModelNotReadyError("No worker has announced its models yet; try again in a few seconds.")
    return ModelList(default=models.default, models=list(models.cards))
