"""Phantom slides to measure on."""

from collections.abc import Callable
from pathlib import Path

from darefine.cli.bench import make_phantom
from wsi.phantom import Version

PHANTOM_VERSION: Version = 1
"""Version of the phantom that the committed results were taken on."""


def phantom_slide(
    folder: Path, size_px: int, tissue_fraction: float, show: Callable[[str, float], None]
) -> Path:
    """Make a phantom slide in `folder`, if it is not there, and return its path."""
    return make_phantom(folder, size_px, show, tissue=tissue_fraction, version=PHANTOM_VERSION)
