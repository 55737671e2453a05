"""The zip of the floods is one that lists what it says and the service refuses."""

import io
import zipfile
from pathlib import Path

import pytest

from benchmarks.floods import SHARED_BYTES, SHARERS, overlapping_zip
from service.errors import ArchiveError
from service.slides.unpacking import unpack_apart


def test_the_zip_of_shared_members_is_refused(tmp_path: Path) -> None:
    content = overlapping_zip() + b"x"
    with zipfile.ZipFile(io.BytesIO(content)) as zipped:
        members = zipped.infolist()
        assert (len(members), members[-1].file_size) == (SHARERS, SHARED_BYTES)
    archive = tmp_path / "shared.zip"
    archive.write_bytes(content)
    with pytest.raises(ArchiveError, match="share bytes"):
        unpack_apart(archive, tmp_path, max_bytes=10**12)
