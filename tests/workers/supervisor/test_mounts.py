"""The embedded queue keeps away from network file systems."""

from pathlib import Path

import pytest

from workers.errors import QueueUnavailableError
from workers.supervisor import mounts
from workers.supervisor.mounts import file_system_of, is_network, require_local_disk

TABLE = r"""
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
30 22 0:40 / /home rw,nosuid shared:5 - nfs4 nas:/home rw,vers=4.2
31 30 8:2 / /home/ann/scratch rw - xfs /dev/sdb1 rw
32 22 0:41 / /mnt/with\040blank rw - fuse.sshfs host:/x rw
33 22 0:42 / /over rw - ext4 /dev/sdc1 rw
34 22 0:43 / /over rw - cifs //nas/x rw
35 22 0:44 / /lfs rw - lustre 10.0.0.1@tcp:/lfs rw
""".strip()


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/var/lib", "ext4"),
        ("/home/ann/.local/share/darefine", "nfs4"),
        ("/home/ann/scratch/queue", "xfs"),
        ("/homes/bob", "ext4"),
        ("/mnt/with blank/queue", "fuse.sshfs"),
        ("/over/x", "cifs"),
        ("/lfs", "lustre"),
    ],
)
def test_the_nearest_mount_counts(folder: str, kind: str) -> None:
    assert file_system_of(Path(folder), TABLE) == kind


def test_network_file_systems_are_told_from_local_ones() -> None:
    assert all(map(is_network, ("nfs", "nfs4", "cifs", "smb3", "lustre", "fuse.sshfs", "fuse.glusterfs")))
    assert not any(
        map(is_network, ("ext4", "xfs", "btrfs", "overlay", "tmpfs", "fuse.fuse-overlayfs", "zfs"))
    )


def test_the_embedded_queue_refuses_a_network_file_system_with_a_cure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    require_local_disk(tmp_path)
    table = tmp_path / "mountinfo"
    table.write_text(TABLE + f"\n40 22 0:50 / {tmp_path} rw - nfs nas:/x rw\n")
    monkeypatch.setattr(mounts, "MOUNTS", table)
    with pytest.raises(QueueUnavailableError, match=r"\(nfs\).*DAREFINE_QUEUE_DIR"):
        require_local_disk(tmp_path / "queue")
