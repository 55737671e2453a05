"""The benchmark of a GPU, on what there is, and its table."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.gpu import main, table_of


def test_a_job_is_compared_with_the_slower_of_network_and_reading() -> None:
    def run(job: float, alone: float) -> dict[str, object]:
        timed = {"megapixels": 100.0, "patches": 1, "stages": None}
        return {
            "model": {"name": "net"},
            "dtype": "bf16",
            "compiled": True,
            "io_threads": {"read": 2, "write": 1},
            "job": [{**timed, "seconds": 100 / job}],
            "network_alone": [{**timed, "seconds": 100 / alone}],
            "stand_in": [{**timed, "seconds": 1.0}],
            "profile": {"job_s": 2.0, "kernel_s": 1.0},
        }

    _heading, slow, fast = table_of([run(75, 150), run(75, 1500)], {"2": 300.0})
    assert slow == ["net, bf16, compiled", "75", "150", "100", "300", "50%", "50%", "360"]
    assert fast[5] == "25%", "of reading, which is the slower"


@pytest.mark.slow
def test_it_measures_on_a_cpu_too(tmp_path: Path) -> None:
    command = "--device cpu --size 2560 --network demo --rounds 1"
    done = CliRunner().invoke(
        main, [*command.split(), "--work", str(tmp_path), "--out", str(tmp_path)], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    found = json.loads((tmp_path / "gpu.json").read_text(encoding="ascii"))
    (run,) = found["runs"]
    assert run["job"][0]["megapixels"] == run["stand_in"][0]["megapixels"] > 0
    assert run["profile"] is None, "there is no GPU"
    assert min(found["read_megapixels_per_second"].values()) > 0
