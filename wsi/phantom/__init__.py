"""Synthetic H&E-like slides with truth, for trying the software; nothing here is, or describes, tissue.

The phantom exists to show one point: what a slice of 0.5 mm shows may belong to more than one class, and
only surroundings (a context of about 2.4 mm) tell which. Version 2 is what is made; version 1, in which a
slice says nothing at all, stays for results that were taken on it. See `wsi.phantom.second` and
`wsi.phantom.first`.

Truth, in both: every pixel of tissue has the label of its territory, whatever stands there: lumina, fat,
necrosis-like rubble, folds, and what ink or a wrong focus hides. Territories of bare stroma and of fat count
as normal. Glass is 0, in tears as well.
"""

from .slide import LATEST, PhantomSlide, Version
from .territories import PHANTOM_PALETTE, Territory
from .writer import PhantomFiles, write_phantom

__all__ = [
    "LATEST",
    "PHANTOM_PALETTE",
    "PhantomFiles",
    "PhantomSlide",
    "Territory",
    "Version",
    "write_phantom",
]
