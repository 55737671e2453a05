"""What can be made here."""

import pytest

from wsi.errors import OutputUnavailableError
from wsi.writing import output_extras
from wsi.writing.output_extras import check_outputs


@pytest.mark.parametrize(
    ("names", "vendor"),
    [((), "aperio"), (("preview", "ome_zarr"), "aperio"), (("dicom_seg",), "dicom"), (("dicom_seg",), None)],
)
def test_what_can_be_made_passes(names: tuple[str, ...], vendor: str | None) -> None:
    check_outputs(names, vendor)


def test_a_segmentation_is_made_of_dicom_slides_only() -> None:
    with pytest.raises(OutputUnavailableError, match="this one is of the format aperio"):
        check_outputs(("preview", "dicom_seg"), "aperio")


def test_a_missing_library_is_told_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output_extras, "find_spec", lambda _name: None)
    check_outputs(("preview",), "aperio")
    with pytest.raises(OutputUnavailableError, match=r'pip install "darefine\[zarr\]"'):
        check_outputs(("ome_zarr",), None)
