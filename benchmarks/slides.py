"""Phantom slides to measure on."""

from collections.abc import Callable
from pathlib import Path

from wsi.phantom import Version, write_phantom

SEED = 11
"""Seed of the slides."""

PHANTOM_VERSION: Version = 1
"""Version of the phantom that the committed results were taken on."""


def phantom_slide(
    folder: Path, size_px: int, tissue_fraction: float, show: Callable[[str, float], None]
) -> Path:
    """Make a phantom slide in `folder`, if it is not there, and return its path."""
    slide = folder / f"phantom-{size_px}-{tissue_fraction}.tif"
    if not slide.exists():
        write_phantom(
            slide,
            size_px=size_px,
            seed=SEED,
            version=PHANTOM_VERSION,
            tissue_fraction=tissue_fraction,
            progress=lambda share: show(slide.name, share),
        )
    return slide
