"""`darefine workers` beside a real queue."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from darefine.cli.main import main
from workers.jobs import Problem
from workers.queue.connection import connect
from workers.queue.registry import WorkerInfo, WorkerRegistry, WorkerState
from workers.supervisor.valkey import EmbeddedValkey

CARD = (
    '{"name": "m", "weights": {"sha256": "' + "ab" * 32 + '"}, "input": '
    '{"mpp": 1.0, "context_ratio": 5, "slices_per_side": 5, "halo_px": 16}}'
)


@pytest.fixture
def queue_url(tmp_path: Path) -> Iterator[str]:
    """A queue with two workers, of which one is set aside."""
    valkey = EmbeddedValkey(tmp_path / "queue")
    valkey.start()
    problem = Problem("weights", "Weights", "the mount is gone")
    with connect(valkey.url) as redis:
        registry = WorkerRegistry(redis)
        for worker in (
            WorkerInfo("gpu1-7-ab", WorkerState.BUSY, "cuda:0", "bfloat16", ("m",), 1.0, host="gpu1"),
            WorkerInfo("gpu2-8-cd", WorkerState.QUARANTINED, None, None, (), 1.0, problem, host="gpu2"),
        ):
            registry.announce(worker, ttl_s=60)
        registry.publish_models("m", (CARD,), worker="gpu1-7-ab")
    yield valkey.url
    valkey.stop()


def test_workers_are_listed_with_host_state_models_and_reason(queue_url: str) -> None:
    result = CliRunner().invoke(main, ["workers"], env={"REDIS_URL": queue_url})
    assert result.exit_code == 0
    heading, first, second = (line.split() for line in result.output.splitlines())
    assert heading == ["worker", "host", "state", "device", "model", "cards", "reason"]
    assert first == ["gpu1-7-ab", "gpu1", "busy", "cuda:0", "(bfloat16)", "m", "ab" * 6]
    assert second == ["gpu2-8-cd", "gpu2", "quarantined", "-", "-", "the", "mount", "is", "gone"]


def test_a_queue_that_does_not_answer_is_one_line(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["workers"], env={"REDIS_URL": f"unix://{tmp_path}/nobody.sock"})
    assert result.exit_code == 1
    assert "Start `darefine serve`, or set REDIS_URL" in result.output
