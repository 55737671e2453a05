"""Hold slides registered in place to the folders this service may read, whatever links say."""

import os
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from wsi.errors import SlideUnreadableError

from ..errors import RootNotAllowedError


def local_path(uri: str) -> Path:
    """Return the absolute path that a `file://` URI or plain path names, symbolic links resolved.

    Raises:
        RootNotAllowedError: for another scheme, or a NUL character.
    """
    scheme, separator, rest = uri.partition("://")
    if separator and scheme != "file":
        raise RootNotAllowedError(
            f"{scheme}:// is not read here. Send a path or file:// URI, or upload the slide."
        )
    if "\0" in uri:
        raise RootNotAllowedError("A path cannot hold a NUL character.")
    return real_path(unquote(rest) if separator else uri)


def is_under(path: Path, roots: tuple[Path, ...]) -> bool:
    """Return whether `path`, symbolic links resolved, lies under one of `roots`."""
    return any(real_path(path).is_relative_to(root) for root in roots)


def real_path(path: str | Path) -> Path:
    """Return the absolute path with symbolic links resolved; circles of links are borne, not raised."""
    return Path(os.path.realpath(path))


def require_inside(path: Path, roots: tuple[Path, ...]) -> None:
    """Check that a slide and every file that is read with it lie under `roots`, symbolic links resolved.

    Raises:
        RootNotAllowedError: when one does not.
        SlideUnreadableError: when a folder cannot be listed.
    """
    try:
        outside = next((part for part in parts_of(path, roots) if not is_under(part, roots)), None)
    except OSError as error:
        raise SlideUnreadableError(f"{path.name} cannot be read: {error.strerror}.") from error
    if outside is not None:
        raise RootNotAllowedError(
            f"{outside.name} of {path.name} is a link that leads outside the folders this service may read. "
            "Put the file itself there, or add its folder to DAREFINE_SLIDE_ROOTS."
        )


def parts_of(path: Path, roots: tuple[Path, ...]) -> Iterator[Path]:
    """Yield the slide and the files and folders that are read with it.

    Those are what a folder holds, the data folder of a MIRAX file, and what lies beside a DICOM, VMS or VMU
    file. What lies outside `roots` is yielded and not looked into.
    """
    waiting, seen = [path, *companions(path)], set[Path]()
    while waiting:
        part = waiting.pop()
        yield part
        real = real_path(part)
        if real not in seen and real.is_dir() and is_under(real, roots):
            waiting.extend(real.iterdir())
        seen.add(real)


def companions(path: Path) -> list[Path]:
    """Return what is read with the file `path` besides itself."""
    suffix = path.suffix.lower()
    if suffix == ".mrxs":
        return [path.with_suffix("")]
    if path.is_file() and (suffix in {".dcm", ".vms", ".vmu"} or is_dicom(path)):
        return [file for file in path.parent.iterdir() if not file.is_dir()]
    return []


def is_dicom(path: Path) -> bool:
    """Return whether the file says that it is DICOM, whatever its name."""
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False
