"""Servers that cannot be the queue are refused before anything waits for them."""

import pytest
from redis import Redis
from redis.exceptions import AuthenticationError, NoPermissionError, RedisError
from redis.exceptions import ConnectionError as RedisConnectionError

from workers.errors import QueueUnavailableError
from workers.queue.suitable import require_suitable


class Answering(Redis):
    """A server that answers INFO with a mode, or with an error."""

    def __init__(self, answer: str | RedisError) -> None:
        self._answer = answer

    def info(self, *sections: str) -> dict[str, str]:
        if isinstance(self._answer, RedisError):
            raise self._answer
        return {"redis_mode": self._answer}


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ("cluster", "Redis Cluster"),
        ("sentinel", "Sentinel"),
        (AuthenticationError("WRONGPASS"), "user:password"),
        (NoPermissionError("no INFO"), "darefine:"),
    ],
)
def test_what_cannot_be_the_queue_is_refused_with_a_sentence(answer: str | RedisError, told: str) -> None:
    with pytest.raises(QueueUnavailableError, match=told):
        require_suitable(Answering(answer))


def test_one_server_is_taken_and_one_that_is_away_may_come(queue) -> None:
    require_suitable(queue.redis)
    require_suitable(Answering(RedisConnectionError("refused")))
