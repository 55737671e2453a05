"""Unpack zip archives of one slide, and check the names clients give their files."""

import contextlib
import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

from ..errors import ArchiveError, SlideNameError, SlideTooLargeError
from .disk import full_disk_refused, require_space

MAX_MEMBERS = 10_000
"""Most members an archive may have; a MIRAX or DICOM slide has tens."""

BLOWN_UP, BLOWN_UP_BYTES = 100, 10**8
"""An archive may unpack to so many times its size, or to so many bytes if that is more."""

DIRECTORY_BYTES = 1 << 20
"""Longest directory of an archive."""

MEMBER_HEAD_BYTES = 30
"""Least size of what stands before a member's data."""

NAME_BYTES = 200
"""Longest file name in UTF-8, in bytes; file systems end at 255."""

UNPACK_ERRORS = (
    zipfile.BadZipFile,
    NotImplementedError,
    RuntimeError,
    ValueError,
    EOFError,
    OSError,
    zlib.error,
    lzma.LZMAError,
)
"""What zipfile raises for damaged, encrypted or unknown members, and for names the disk does not take."""


def slide_name(name: str | None) -> str:
    """Return the last component of a client's file name.

    Raises:
        SlideNameError: when it is empty, a dot name, too long, or holds characters that cannot be printed.
    """
    plain = (name or "").replace("\\", "/").rsplit("/", 1)[-1]
    if plain in {"", ".", ".."} or len(plain.encode()) > NAME_BYTES or not plain.isprintable():
        raise SlideNameError(
            f"Send the slide's file name, such as ?filename=slide.svs (at most {NAME_BYTES} bytes)."
        )
    return plain


def is_archive(name: str) -> bool:
    """Tell by its name whether a file is a zip archive."""
    return name.lower().endswith(".zip")


class ShortReads(io.FileIO):
    """File of an archive, of which nothing but its directory is read at once; too long a one is not read."""

    def read(self, size: int | None = -1, /) -> bytes:
        """Read `size` bytes.

        Raises:
            BadZipFile: when that is longer than a directory may be.
        """
        if size is not None and size > DIRECTORY_BYTES:
            raise zipfile.BadZipFile("its directory is too long")
        return super().read(size) or b""


def most_unpacked(archive: Path) -> int:
    """Return how many bytes an archive of this size may have unpacked."""
    return max(BLOWN_UP_BYTES, BLOWN_UP * archive.stat().st_size)


def unpack(archive: Path, folder: Path, max_bytes: int) -> None:
    """Unpack a zip of one slide's files into `folder`, of at most `max_bytes` bytes unpacked.

    Raises:
        StorageFullError: when it does not fit on the disk; and what `judged` raises.
    """
    with judged(archive, folder, max_bytes) as zipped, full_disk_refused():
        # zipfile trusts no member to be larger than it says, nor to lie outside the folder.
        zipped.extractall(folder)


@contextlib.contextmanager
def judged(archive: Path, folder: Path, max_bytes: int) -> Iterator[zipfile.ZipFile]:
    """Open a zip and yield it once its directory has shown that it can be unpacked into `folder`.

    Raises:
        ArchiveError: when it cannot be unpacked, is no plain zip, or has more than MAX_MEMBERS members.
        SlideTooLargeError: when its members say that they are larger than `max_bytes` together.
        StorageFullError: when they do not fit on the disk.
    """
    try:
        with ShortReads(archive) as file, zipfile.ZipFile(file) as zipped:
            members = zipped.infolist()
            if len(members) > MAX_MEMBERS:
                raise ArchiveError(f"The archive has more than {MAX_MEMBERS} files; send one slide a zip.")
            require_plain(members)
            unpacked = sum(member.file_size for member in members)
            if unpacked > most_unpacked(archive):
                raise ArchiveError(f"The archive unpacks to {unpacked} bytes, far more than it has itself.")
            if unpacked > max_bytes:
                raise SlideTooLargeError(f"Slides of more than {max_bytes} bytes are not taken here.")
            require_space(folder, unpacked)
            yield zipped
    except UNPACK_ERRORS as error:
        raise ArchiveError(
            f"The zip archive cannot be unpacked ({error}); send a plain zip of one slide."
        ) from error


def require_plain(members: list[zipfile.ZipInfo]) -> None:
    """Check by its directory that no part of an archive is unpacked twice, or by a method that eats memory.

    Raises:
        ArchiveError: when members share bytes, or are compressed otherwise than by deflate.
    """
    end = 0
    for member in sorted(members, key=lambda member: member.header_offset):
        if member.header_offset < end:
            raise ArchiveError("Members of the archive share bytes; send a plain zip of one slide.")
        end = member.header_offset + MEMBER_HEAD_BYTES + member.compress_size
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise ArchiveError("The archive is compressed otherwise than by deflate; send a plain zip.")


def innermost(folder: Path) -> Path:
    """Return what `folder` holds, followed down while it is one thing alone; else the folder itself.

    People zip a folder as often as its files. The `__MACOSX` folder that macOS adds does not count.
    """
    members = [member for member in folder.iterdir() if member.name != "__MACOSX"]
    if len(members) != 1:
        return folder
    return innermost(members[0]) if members[0].is_dir() else members[0]
