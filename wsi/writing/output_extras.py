"""Tell which outputs can be made of a slide in this installation. Imports none of their libraries."""

from collections.abc import Iterable
from importlib.util import find_spec

from ..errors import OutputUnavailableError

_LIBRARIES = {"dicom_seg": "highdicom", "ome_zarr": "zarr"}
"""What an output is made with that a plain installation lacks."""

_EXTRAS = {"dicom_seg": "dicom", "ome_zarr": "zarr"}


def without_probabilities(model: str) -> str:
    """Return the message for outputs of probabilities that a model of this name does not give."""
    return (
        f"{model} gives labels alone, no probabilities: leave the outputs probabilities and confidence out."
    )


def check_outputs(names: Iterable[str], vendor: str | None) -> None:
    """Check that outputs can be made here, of a slide of the format `vendor`; None: there is no slide yet.

    Raises:
        OutputUnavailableError: one cannot; the message says what to install or to leave out.
    """
    for name in names:
        if name in _LIBRARIES and find_spec(_LIBRARIES[name]) is None:
            raise OutputUnavailableError(
                f"The output {name} needs {_LIBRARIES[name]}, which is not installed here. "
                f'Install it (pip install "darefine[{_EXTRAS[name]}]"), or leave the output out.'
            )
        if name == "dicom_seg" and vendor not in (None, "dicom"):
            raise OutputUnavailableError(
                f"The output dicom_seg refers to a DICOM slide, and this one is of the format {vendor}. "
                "Leave it out, or send the slide as DICOM (VL Whole Slide Microscopy)."
            )
