"""Write files that exist either whole or not at all."""

import errno
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_CANNOT_FLUSH_FOLDERS = (errno.EINVAL, errno.ENOTSUP)


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path` and rename it over `path` on success.

    The file is flushed to disk before the rename and its folder after it, so that a power cut leaves the old
    file or the new one. When the body raises, `path` stays as it was and the temporary file is removed.
    Several processes may do this for the same `path` at once: each has its own temporary name and the last
    rename wins.

    Raises:
        OSError: the file cannot be written or renamed; FileNotFoundError when the body wrote nothing or the
            folder is gone.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.partial")
    try:
        yield temporary
        with temporary.open("rb+") as written:
            os.fsync(written.fileno())
        temporary.replace(path)
        flush_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`, whole or not at all.

    Raises:
        OSError: as `atomic_file`.
    """
    with atomic_file(path) as temporary:
        temporary.write_bytes(data)


def flush_tree(folder: Path) -> None:
    """Flush a folder and all files in it to disk (fsync); links are not followed.

    Raises:
        OSError: a file cannot be flushed.
    """
    for parent, _, names in os.walk(folder, topdown=False):
        for name in names:
            path = Path(parent, name)
            if not path.is_symlink():
                with path.open("rb") as file:
                    os.fsync(file.fileno())
        flush_folder(Path(parent))


def flush_folder(folder: Path) -> None:
    """Flush the names in a folder to disk (fsync), where the platform and the file system can."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows opens no folders
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_FLUSH_FOLDERS:  # some network file systems
            raise
    finally:
        os.close(descriptor)
