"""Synthetic H&E-like slides with truth, for trying the software; nothing here is, or describes, tissue.

The phantom exists to show one point: the same local texture belongs to different classes depending on
surroundings that only the context (a patch of about 2.4 mm) can show. See `wsi.phantom.territories` for how.
"""

from .slide import PhantomSlide
from .territories import PHANTOM_PALETTE, Territory
from .writer import PhantomFiles, write_phantom

__all__ = ["PHANTOM_PALETTE", "PhantomFiles", "PhantomSlide", "Territory", "write_phantom"]
