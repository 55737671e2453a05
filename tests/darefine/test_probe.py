"""`darefine probe`: exit code 0 for parts that are well, 1 with the reason for those that are not."""

from collections.abc import Iterator

import pytest
from click.testing import CliRunner, Result

from darefine.cli.main import main
from workers.jobs import Problem
from workers.queue.connection import connect
from workers.queue.registry import WorkerInfo, WorkerRegistry, WorkerState, host_name
from workers.supervisor.valkey import EmbeddedValkey

NOWHERE = "redis://127.0.0.1:1/0"
BROKEN = Problem("weights", "Weights", "weights.safetensors is not what its card describes")


def probe(*arguments: str, **env: str) -> Result:
    return CliRunner().invoke(main, ["probe", *arguments], env=env)


@pytest.fixture
def queue_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    valkey = EmbeddedValkey(tmp_path_factory.mktemp("valkey"))
    valkey.start()
    yield valkey.url
    valkey.stop()


def test_workers_of_this_host_are_judged_by_what_they_announce(queue_url: str) -> None:
    def announce(host: str, state: WorkerState, problem: Problem | None = None) -> None:
        info = WorkerInfo(f"{host}-1-abcd", state, None, None, (), 0.0, problem)
        WorkerRegistry(redis).announce(info, ttl_s=60)

    with connect(queue_url) as redis:
        announce("elsewhere", WorkerState.IDLE)
        answer = probe("worker", DAREFINE_REDIS_URL=queue_url)
        assert (answer.exit_code, "no worker of this host" in answer.output) == (1, True)
        announce(host_name(), WorkerState.STARTING)
        assert probe("worker", DAREFINE_REDIS_URL=queue_url).exit_code == 0
        assert probe("worker", "--ready", DAREFINE_REDIS_URL=queue_url).exit_code == 1
        announce(host_name(), WorkerState.BUSY)
        assert probe("worker", "--ready", DAREFINE_REDIS_URL=queue_url).exit_code == 0
        announce(host_name(), WorkerState.FAILED, BROKEN)
        answer = probe("worker", DAREFINE_REDIS_URL=queue_url)
        assert (answer.exit_code, BROKEN.detail in answer.output) == (1, True)


def test_a_queue_that_is_away_is_no_fault_of_the_workers() -> None:
    alive = probe("worker", DAREFINE_REDIS_URL="redis://:secret@127.0.0.1:1/0")
    assert alive.exit_code == 0
    assert "secret" not in alive.output
    assert probe("worker", "--ready", DAREFINE_REDIS_URL=NOWHERE).exit_code == 1


def test_an_api_lives_while_it_answers_and_is_ready_while_a_worker_is(url: str) -> None:
    assert probe("api", "--url", url).exit_code == 0
    answer = probe("api", "--url", url, "--ready")
    assert (answer.exit_code, "worker: no worker has its model loaded" in answer.output) == (1, True)


def test_an_api_that_does_not_answer_is_told() -> None:
    answer = probe("api", "--url", "http://127.0.0.1:1")
    assert answer.exit_code == 1
    assert "http://127.0.0.1:1/healthz" in answer.output
