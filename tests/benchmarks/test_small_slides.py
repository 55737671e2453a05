"""The benchmark of small slides: its table, and a run of it."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks.small_slides import main, table_of


def test_a_queue_is_compared_with_the_network_measured_before_and_after_it() -> None:
    one = {
        "workers": 2,
        "alone_s": [0.6, 0.7, 0.8],
        "alone_network_s": [0.5, 0.5, 0.5],
        "queue_s": 100.0,
        "queue_jobs": 200,
        "network_s": [0.3, 0.5],
    }
    _heading, row, first = table_of([one, {**one, "workers": 1}])[0:3]
    assert row[0] == "1"
    assert first == ["2", "0.70", "0.50", "0.200", "0.380", "200", "120", "150", "80%"]


@pytest.mark.slow
def test_it_measures_a_running_service(tmp_path: Path) -> None:
    command = "--size 1024 --jobs 3 --alone 2 --workers 1 --rounds 1"
    done = CliRunner().invoke(main, [*command.split(), "--out", str(tmp_path)], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    (found,) = json.loads((tmp_path / "small_slides.json").read_text(encoding="ascii"))["rounds"]
    assert len(found["alone_s"]) == len(found["alone_network_s"]) == 2
    assert 0 < found["queue_jobs"] <= 3
    assert found["queue_s"] > max(found["alone_network_s"])
