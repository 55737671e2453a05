"""Tell whether a folder lies on a network file system, where the embedded queue's locks do not hold."""

from pathlib import Path

from ..errors import QueueUnavailableError

MOUNTS = Path("/proc/self/mountinfo")
"""Linux's table of mounts; where there is none, nothing is known and nothing refused."""

NETWORK = frozenset(
    ("9p", "afs", "beegfs", "ceph", "cifs", "glusterfs", "gpfs", "lustre", "nfs", "nfs4", "orangefs", "panfs")
) | {"pvfs2", "smb3", "smbfs", "wekafs"}
"""Types of file systems that other hosts may write at the same time."""

NETWORK_FUSE = (
    "ceph",
    "gcsfuse",
    "gluster",
    "goofys",
    "juicefs",
    "mfs",
    "rclone",
    "s3fs",
    "sshfs",
    "geesefs",
)
"""What the names of such types behind FUSE begin with, after `fuse.`."""


def file_system_of(folder: Path, mounts: str) -> str | None:
    """Return the type of the file system that a folder lies, or will lie, on; None if the table has none.

    `mounts` is the text of MOUNTS. The longest mount point above the folder counts, of equal ones the last.
    """
    found, length = None, -1
    resolved = folder.resolve()
    for line in mounts.splitlines():
        before, _, after = line.partition(" - ")
        point = _unescape(before.split()[4])
        if resolved.is_relative_to(point) and len(point) >= length:
            found, length = after.split()[0], len(point)
    return found


def is_network(kind: str) -> bool:
    """Return whether a type of file system, such as `nfs4` or `fuse.sshfs`, is a network's."""
    return kind in NETWORK or kind.removeprefix("fuse.").startswith(NETWORK_FUSE)


def require_local_disk(folder: Path) -> None:
    """Check that the embedded queue may keep its file in a folder.

    Raises:
        QueueUnavailableError: it lies on a network file system.
    """
    if not MOUNTS.exists():
        return
    kind = file_system_of(folder, MOUNTS.read_text(encoding="utf-8", errors="surrogateescape"))
    if kind is not None and is_network(kind):
        raise QueueUnavailableError(
            f"{folder} lies on a network file system ({kind}). The embedded queue would not be safe there: "
            "locks may not hold, and two servers could write one file. Set DAREFINE_QUEUE_DIR to a folder on "
            "a disk of this machine, or DAREFINE_REDIS_URL to a queue server. Slides and results may stay."
        )


def _unescape(point: str) -> str:
    """Return a mount point as it is written in paths: the table writes blanks and the like in octal."""
    for code, letter in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        point = point.replace(code, letter)
    return point
