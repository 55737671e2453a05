"""Mark phantom slides in their ImageDescription, and know them by it."""

import struct
from pathlib import Path

import tifffile

PHANTOM_MARK = "Synthetic phantom slide for trying software, not tissue"


def is_phantom_slide(path: Path) -> bool:
    """Return whether a file is a slide that `write_phantom` wrote, as its ImageDescription says.

    A phantom that another program has converted counts only if its description went along.
    """
    if not path.is_file():
        return False
    try:
        with tifffile.TiffFile(path) as tiff:
            return tiff.pages.first.description.startswith(PHANTOM_MARK)
    except (tifffile.TiffFileError, OSError, ValueError, LookupError, TypeError, struct.error):
        return False
