"""Facts of an open slide, as the API stores them and the worker reads them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from ..geometry import Rect, Size
from .mpp import Mpp


@dataclass(frozen=True, slots=True)
class SlideInfo:
    """Facts of an open slide."""

    vendor: str
    """OpenSlide's name of the format, e.g. "aperio"; "plain-tiff" for what only the TIFF reader takes."""
    reader: str
    """Who decodes the pixels: "openslide" or "tiff"."""
    size: Size
    """l0 px, the full frame."""
    level_downsamples: tuple[float, ...]
    """l0 px per level px, finest first."""
    mpp: Mpp | None
    """None when nothing says it: ask the sender (MppUnknownError)."""
    objective_power: float | None
    bounds: Rect
    """l0 px; the part with scanned pixels. It limits where tissue is searched and never shifts the frame."""

    def to_json(self) -> dict[str, Any]:
        """Return the facts as a JSON object."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "SlideInfo":
        """Rebuild the facts from what `to_json` returned."""
        return cls(
            vendor=data["vendor"],
            reader=data["reader"],
            size=Size(**data["size"]),
            level_downsamples=tuple(data["level_downsamples"]),
            mpp=None if data["mpp"] is None else Mpp(**data["mpp"]),
            objective_power=data["objective_power"],
            bounds=Rect(**data["bounds"]),
        )
