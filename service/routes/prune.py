"""Route that removes old results and slides, or says which would go."""

from fastapi import APIRouter
from redis.exceptions import RedisError

from ..dependencies import Keeper
from ..errors import RequestInvalidError
from ..openapi import problems
from ..retention_schemas import PruneOut, PruneRequest

router = APIRouter(prefix="/prune", tags=["administration"])


@router.post("", response_model=PruneOut, responses=problems(RequestInvalidError, RedisError))
def prune(body: PruneRequest, keeper: Keeper) -> PruneOut:
    """Remove old results and slides, by age and beyond quotas; with `dry_run`, the default, only say which.

    Jobs that are not over stay, and so do their slides. Of a slide registered in place only the record goes.
    """
    jobs, slides = keeper.find(body.rules())
    if not body.dry_run:
        keeper.remove(jobs, slides)
    return PruneOut.of(jobs, slides, dry_run=body.dry_run)
