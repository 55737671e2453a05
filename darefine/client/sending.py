"""Make one file of a slide, know it by its sha256, and read it in pieces."""

import contextlib
import hashlib
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

CHUNK = 1 << 20

ZIP_DATE = (1980, 1, 1, 0, 0, 0)
"""Date of every member of an archive: the same files make the same bytes, wherever they were copied to."""

Sent = Callable[[int, int], object]
"""Told bytes done and bytes in all."""


def ignore(_done: int, _total: int) -> None:
    """Tell nobody about progress."""


def sha256_of(file: Path, told: Sent = ignore) -> str:
    """Return the hexadecimal sha256 of a file."""
    digest, total = hashlib.sha256(), file.stat().st_size
    for chunk in read_chunks(file, lambda done: told(done, total)):
        digest.update(chunk)
    return digest.hexdigest()


def read_chunks(file: Path, sent: Callable[[int], object]) -> Iterator[bytes]:
    """Yield the bytes of `file` in chunks; tell `sent` how many were handed over."""
    done = 0
    with file.open("rb") as source:
        while chunk := source.read(CHUNK):
            yield chunk
            done += len(chunk)
            sent(done)


def members_of(slide: Path) -> list[Path]:
    """Return the files that a slide is made of: itself, with a MIRAX file its data folder, or a folder's."""
    members = [slide] if slide.is_file() else []
    folder = slide if slide.is_dir() else slide.with_suffix("")
    if slide.is_dir() or (slide.suffix.lower() == ".mrxs" and folder.is_dir()):
        members += sorted(path for path in folder.rglob("*") if path.is_file())
    return members


@contextlib.contextmanager
def as_one_file(slide: Path) -> Iterator[Path]:
    """Yield one file to send for a slide: itself, or a temporary zip of a folder slide.

    A folder slide is DICOM, or a MIRAX file with its data folder. The zip is stored, not compressed.
    """
    members = members_of(slide)
    if members == [slide]:
        yield slide
        return
    root = slide if slide.is_dir() else slide.parent
    with tempfile.TemporaryDirectory(prefix="darefine-") as folder:
        archive = Path(folder) / f"{slide.resolve().name}.zip"
        with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as zipped:
            for member in members:
                add_member(zipped, member, member.relative_to(root).as_posix())
        yield archive


def add_member(archive: zipfile.ZipFile, file: Path, name: str) -> None:
    """Add a file under a name, without its date and rights."""
    member = zipfile.ZipInfo(name, ZIP_DATE)
    member.file_size = file.stat().st_size  # zipfile decides by it whether the member needs 64 bits
    with archive.open(member, "w") as target:
        for chunk in read_chunks(file, lambda _: None):
            target.write(chunk)
