"""API and queue here, workers from the Slurm script: two tasks as on two nodes, one signalled in its job."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from darefine.cli.demo import free_port, own_environment
from darefine.cli.serve import api_command
from darefine.client import Client
from tests import ROOT
from workers.supervisor.valkey import server_program
from wsi.phantom import PhantomFiles

pytestmark = pytest.mark.e2e

SCRIPT = ROOT / "deploy" / "slurm" / "darefine-workers.sbatch"
PASSWORD = "0f0f"


@dataclass
class Cluster:
    """A service without workers, and the tasks that bring them."""

    url: str
    environment: dict[str, str]
    processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)

    def start(self, *command: str, **more: str) -> "subprocess.Popen[bytes]":
        """A process with the settings of all."""
        self.processes.append(
            subprocess.Popen(command, env={**self.environment, **more}, start_new_session=True)
        )
        return self.processes[-1]

    def task(self) -> "subprocess.Popen[bytes]":
        """One task of the array, as Slurm starts it on a node."""
        end = str(int(time.time()) + 3600)
        return self.start("bash", str(SCRIPT), SLURM_JOB_END_TIME=end, MAX_IDLE_S="1")


@pytest.fixture
def cluster(tmp_path: Path, tiny_model: Path) -> Iterator[Cluster]:
    port, queue_port = free_port(), free_port()
    environment = {
        **own_environment(),
        "DAREFINE": f"{sys.executable} -m darefine",
        "DAREFINE_DATA_DIR": str(tmp_path / "shared"),
        "DAREFINE_REDIS_URL": f"redis://:{PASSWORD}@127.0.0.1:{queue_port}/0",
        "DAREFINE_WEIGHTS_DIR": str(tiny_model.parent),
        "DAREFINE_DEVICE": "cpu",
    }
    (tmp_path / "shared").mkdir()
    running = Cluster(f"http://127.0.0.1:{port}", environment)
    try:
        queue = ("--port", str(queue_port), "--requirepass", PASSWORD, "--save", "", "--dir", str(tmp_path))
        running.start(str(server_program()), *queue)
        running.start(*api_command("127.0.0.1", port))
        yield running
    finally:
        for process in reversed(running.processes):
            process.terminate()
            process.wait(60)


def test_tasks_of_an_array_take_over_from_each_other_and_end_by_themselves(
    cluster: Cluster, large_phantom: PhantomFiles
) -> None:
    # The first finds nothing to do, but the service knows its models from then on.
    assert cluster.task().wait(90) == 0
    with Client(cluster.url, sleep=lambda seconds: time.sleep(min(seconds, 0.2))) as client:
        slide = client.upload(large_phantom.slide).id
        job_id = client.submit(slide).id
        first = cluster.task()
        for job in client.follow(job_id):
            if job.progress.patches_done >= 2:
                break
        second = cluster.task()
        # Slurm's B:TERM goes to the script alone.
        first.send_signal(signal.SIGTERM)
        assert first.wait(60) == 0
        *_, ended = client.follow(job_id)
        assert second.wait(60) == 0
    assert (ended.state, ended.attempt, ended.error) == ("succeeded", 2, None)


def test_the_script_says_what_it_needs(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("DAREFINE_")}
    done = subprocess.run(["bash", str(SCRIPT)], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "DAREFINE_REDIS_URL" in done.stderr
