"""Refuse servers that cannot be the queue, before anything waits for them."""

import logging

from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError

from ..errors import QueueUnavailableError

logger = logging.getLogger(__name__)

REFUSED = {
    "cluster": "The queue's server is a node of a Redis Cluster. The queue changes several keys in one step, "
    "which a cluster spreads over its nodes and refuses: use one server, or one primary with replicas.",
    "sentinel": "The queue's server is a Redis Sentinel, which holds no data. Set DAREFINE_REDIS_URL to the "
    "primary, by a name or proxy that follows it.",
}
"""By `redis_mode` of INFO."""


def require_suitable(redis: Redis) -> None:
    """Check that a server can be the queue. One that does not answer now may come later, and is not refused.

    Raises:
        QueueUnavailableError: it is a cluster or a Sentinel, or it does not take our user.
    """
    try:
        mode = redis.info("server").get("redis_mode", "standalone")
    except (AuthenticationError, NoPermissionError) as error:
        raise QueueUnavailableError(
            f"The queue's server refuses us: {error}. Give user and password in DAREFINE_REDIS_URL "
            "(redis://user:password@host/0); a user with rules needs the keys darefine:* and rq:*, and INFO."
        ) from error
    except RedisError as error:
        logger.warning("the queue does not answer yet: %s", error)
        return
    if mode in REFUSED:
        raise QueueUnavailableError(REFUSED[mode])
