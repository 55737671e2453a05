"""The demo works in a checkout on a network file system too."""

from pathlib import Path

import pytest

from darefine.cli.demo import local_queue
from workers.supervisor import mounts


def test_the_demo_keeps_its_queue_on_a_local_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with local_queue(tmp_path) as settings:
        assert settings == {}
    table = tmp_path / "mountinfo"
    table.write_text(f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n40 22 0:50 / {tmp_path} rw - nfs4 nas:/x rw\n")
    monkeypatch.setattr(mounts, "MOUNTS", table)
    with local_queue(tmp_path / "data") as settings:
        queue = Path(settings["DAREFINE_QUEUE_DIR"])
        assert queue.is_dir()
        assert not queue.is_relative_to(tmp_path)
    assert not queue.exists()
