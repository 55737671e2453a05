"""The models that workers serve."""

from fastapi import APIRouter

from ..dependencies import Queue
from ..errors import ModelNotReadyError
from ..schemas import ModelList, ProblemOut

router = APIRouter(prefix="/models", tags=["models"])


@router.get(
    "", response_model=ModelList, responses={503: {"description": "No worker yet", "model": ProblemOut}}
)
def list_models(queue: Queue) -> ModelList:
    """The model cards: classes, colours, mpp, sizes, training and metrics."""
    models = queue.models()
    if models.default is None:
        raise ModelNotReadyError("No worker has announced its models yet; try again in a few seconds.")
    return ModelList(default=models.default, models=list(models.cards))
