"""Where a stored slide lies, told by its id."""

import json
from pathlib import Path
from typing import Any

import pytest

from wsi.errors import SlideUnreadableError
from wsi.stored_slides import path_in_record, stored_slide_path

ID = "0f3c9f2ab1d04e55a6b7c8d9"


def write_record(slides: Path, record: object, slide_id: str = ID) -> None:
    """Put a record where the service does."""
    (slides / slide_id).mkdir(parents=True)
    (slides / slide_id / "slide.json").write_text(json.dumps(record))


def test_an_uploaded_slide_lies_beside_its_record_wherever_the_folder_is_mounted(tmp_path: Path) -> None:
    folder = Path("/somewhere/slides") / ID
    path = path_in_record(folder, folder / "content" / "case 1.svs", "5f0c")
    assert path == "content/case 1.svs"
    write_record(tmp_path, {"path": path, "sha256": "5f0c"})
    assert stored_slide_path(tmp_path, ID) == tmp_path / ID / "content" / "case 1.svs"


def test_a_record_of_version_0_1_0_holds_the_path_of_then(tmp_path: Path) -> None:
    write_record(tmp_path, {"path": f"/old/{ID}/data/slides/{ID}/content/a.svs", "sha256": "5f0c"})
    assert stored_slide_path(tmp_path, ID) == tmp_path / ID / "content" / "a.svs"


def test_a_slide_registered_in_place_stays_there(tmp_path: Path) -> None:
    path = path_in_record(tmp_path / ID, Path("/mnt/nas/a.svs"), None)
    write_record(tmp_path, {"path": path, "sha256": None})
    assert stored_slide_path(tmp_path, ID) == Path("/mnt/nas/a.svs")


@pytest.mark.parametrize(
    "record",
    [
        {"path": "../../etc/passwd", "sha256": "5f0c"},
        {"path": "/etc/passwd", "sha256": "5f0c"},
        {"path": 3, "sha256": None},
        {"sha256": None},
        [],
        None,
    ],
)
def test_a_record_that_leads_nowhere_is_refused(tmp_path: Path, record: Any) -> None:
    write_record(tmp_path, record)
    with pytest.raises(SlideUnreadableError, match=ID):
        stored_slide_path(tmp_path, ID)


@pytest.mark.parametrize("slide_id", ["", ".", "..", f"../{ID}", f"{ID}/", ID.upper(), f"{ID}\n", "0" * 24])
def test_what_is_no_id_of_a_slide_is_refused(tmp_path: Path, slide_id: str) -> None:
    write_record(tmp_path, {"path": "content/a.svs", "sha256": "5f0c"})
    with pytest.raises(SlideUnreadableError):
        stored_slide_path(tmp_path, slide_id)
